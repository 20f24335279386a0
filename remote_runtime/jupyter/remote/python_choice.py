"""Which Python runs Jupyter and which one its kernels, without those that turned out to be broken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from . import interpreters, private_venv
from .interpreters import Found, Probed
from .python_candidates import private_python
from .reply import Answers, Failure
from .request import Wish


class Broken(Exception):
    """A Python in which ``package``, Jupyter's server or ipykernel, cannot be imported, whatever its metadata says.
    ``why``: its last words."""

    def __init__(self, python: str, package: str, why: str) -> None:
        super().__init__(python)
        self.python = python
        self.package = package
        self.why = why


@dataclass(frozen=True)
class Choice:
    """``server`` runs Jupyter, ``kernel`` its kernels; often they are one. ``notes``: what a person should know."""

    server: Found
    kernel: Found
    notes: list[str]


class Search:
    """``env``: that of a login."""

    def __init__(self, wish: Wish, env: Mapping[str, str], answers: Answers) -> None:
        self._wish = wish
        self._env = env
        self._answers = answers
        self._probed: Probed | None = None
        self._broken: dict[str, str] = {}
        self._named_lacks = ""
        self._made = False
        self._made_again_because = ""

    def find(self) -> Choice:
        """Raises ``Failure``: ``jupyter-missing`` when there is no usable one and none may be made,
        ``jupyter-did-not-start`` when the one that the profile names is broken, or as ``environment.ensure``."""
        wish = self._wish
        if self._probed is None:
            self._answers.say("Looking for Jupyter on the machine")
            self._probed = interpreters.look(wish.python, self._env, self._answers)
        sound = [each for each in self._probed.found if each.path not in self._broken]
        found = interpreters.choose(sound)
        if found is None or (found.path == private_python() and not private_venv.has(wish.packages)):
            if wish.python != "auto" or wish.install != "auto":
                raise self._missing(self._probed.found)
            found = self._ensure(sound)
        lender = interpreters.lender(sound, found)
        return Choice(found, lender or found, [*self._passed_over(), *self._told(found, lender, self._probed.aside)])

    def exclude(self, broken: Broken) -> None:
        """Go on without it. Raises ``Failure`` when our own environment is broken though it was just made."""
        if broken.python == private_python() and self._made:
            raise Failure(
                "jupyter-install-failed", "The private environment for Jupyter does not work", broken.why,
                "Name a Python that has jupyter_server and ipykernel: `jupyter.python`",
            )  # fmt: skip
        self._answers.say(f"{broken.python} cannot be used: {last_line(broken.why)}")
        self._broken[broken.python] = broken.why
        self._named_lacks = broken.package

    def _ensure(self, sound: list[Found]) -> Found:
        ours = private_python()
        broken = self._broken.pop(ours, "")
        self._made = self._made or bool(broken) or private_venv.installed() is None
        found, why = private_venv.ensure(self._wish.packages, sound, self._env, self._answers, broken)
        self._made_again_because = self._made_again_because or why
        if self._probed:
            others = [each for each in self._probed.found if each.path != ours]
            self._probed = Probed([*others, found], self._probed.aside)
        return found

    def _missing(self, probed: list[Found]) -> Failure:
        seen = "; ".join(f"{each.path}: {self._trouble(each)}" for each in probed) or "no Python at all"
        if self._wish.python == "auto":
            hint = "`jupyter.install: auto` allows a private one; `jupyter.python` names another Python"
            return Failure("jupyter-missing", "No usable Jupyter on the machine", seen, hint)
        named = probed[0].path
        if named in self._broken:
            return Failure(
                "jupyter-did-not-start",
                f"{self._named_lacks} cannot be imported in {named}, which jupyter.python names",
                self._broken[named],
                f"On the machine: `{named} -m pip install --upgrade --force-reinstall jupyter_server ipykernel`",
            )  # fmt: skip
        return Failure("jupyter-missing", "No usable Jupyter in the Python that jupyter.python names", seen,
                       f"On the machine: `{named} -m pip install jupyter_server ipykernel`")  # fmt: skip

    def _trouble(self, found: Found) -> str:
        return last_line(self._broken[found.path]) if found.path in self._broken else found.lacks()

    def _passed_over(self) -> list[str]:
        told = [
            f"{path} is passed over, since it is broken: {last_line(why)}; `jupyter.python` names the one to use"
            for path, why in self._broken.items()
        ]
        if self._made_again_because:
            why = last_line(self._made_again_because)
            told.append(f"the private environment for Jupyter was broken ({why}) and has been made again")
        return told

    def _told(self, found: Found, lender: Found | None, aside: list[Found]) -> list[str]:
        told = []
        if lender:
            told.append(f"the kernel python3 runs {lender.path}, which has {', '.join(lender.frameworks)}; "
                        f"Jupyter itself runs {found.path}")  # fmt: skip
        else:
            told += [
                f"{each.path} has {', '.join(each.frameworks)}: `jupyter.python: {each.path}` takes it"
                + ("" if each.kind else " once jupyter_server and ipykernel are in it")
                for each in aside[:5]
            ]
        if self._wish.packages and found.path != private_python():
            told.append("jupyter.packages is for a private environment; "
                        f"Jupyter runs {found.path}, which stays as it is")  # fmt: skip
        return told


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it says nothing"])[-1].strip()[:200]
