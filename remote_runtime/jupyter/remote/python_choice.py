"""Chooses the Python that runs Jupyter and the one that runs its kernels, without those that are broken."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from ...launcher.remote.reply import ReplyWriter, ReportedError
from . import interpreters, private_venv
from .interpreters import Interpreter, ProbedInterpreters
from .python_candidates import private_python
from .request import LaunchSpec


class BrokenPython(Exception):
    """A Python that cannot import ``package``, Jupyter's server or ipykernel, though its metadata is there. ``why``:
    the last lines of the error."""

    def __init__(self, python: str, package: str, why: str) -> None:
        super().__init__(python)
        self.python = python
        self.package = package
        self.why = why


@dataclass(frozen=True)
class PythonChoice:
    """``server`` runs Jupyter, ``kernel`` its kernels; often they are the same. ``notes``: for people."""

    server: Interpreter
    kernel: Interpreter
    notes: list[str]


class PythonSearch:
    """``env``: a login's."""

    def __init__(self, spec: LaunchSpec, env: Mapping[str, str], reply: ReplyWriter) -> None:
        self._spec = spec
        self._env = env
        self._reply = reply
        self._probed: ProbedInterpreters | None = None
        self._broken: dict[str, str] = {}
        self._broken_package = ""
        self._venv_made = False
        self._recreated = ""
        self._venv_notes: list[str] = []

    def find(self) -> PythonChoice:
        """Raises ``ReportedError``: ``jupyter-missing`` if no Python is usable and none may be installed,
        ``jupyter-did-not-start`` if the one that the profile names is broken, or as ``private_venv.ensure``."""
        spec = self._spec
        if self._probed is None:
            self._reply.progress("Finding Jupyter on the machine")
            self._probed = interpreters.probe_all(spec.python, self._env, self._reply)
        sound = [each for each in self._probed.interpreters if each.path not in self._broken]
        server = interpreters.choose(sound)
        if server is None or (server.path == private_python() and not self._is_complete()):
            if spec.python != "auto" or spec.install != "auto":
                raise self._missing_error(self._probed.interpreters)
            server = self._ensure(sound)
        kernel = interpreters.kernel_interpreter(sound, server)
        return PythonChoice(
            server,
            kernel or server,
            [*self._excluded_notes(), *self._choice_notes(server, kernel, self._probed.suggestions)],
        )

    def _is_complete(self) -> bool:
        return private_venv.is_complete(self._spec.packages, lab=self._spec.lab)

    def exclude(self, broken: BrokenPython) -> None:
        """Search without it. Raises ``ReportedError`` if the private environment is broken though it was just
        created."""
        if broken.python == private_python() and self._venv_made:
            raise ReportedError(
                "jupyter-install-failed", "The private environment for Jupyter does not work", broken.why,
                private_venv.NAME_PYTHON,
            )  # fmt: skip
        self._reply.progress(f"{broken.python} is broken: {last_line(broken.why)}")
        self._broken[broken.python] = broken.why
        self._broken_package = broken.package

    def _ensure(self, sound: list[Interpreter]) -> Interpreter:
        ours = private_python()
        broken = self._broken.pop(ours, "")
        self._venv_made = self._venv_made or bool(broken) or private_venv.installed_packages() is None
        spec = self._spec
        venv = private_venv.ensure(spec.packages, sound, self._env, self._reply, broken, lab=spec.lab)
        self._recreated = self._recreated or venv.recreated
        self._venv_notes += venv.notes
        if self._probed:
            others = [each for each in self._probed.interpreters if each.path != ours]
            self._probed = ProbedInterpreters([*others, venv.interpreter], self._probed.suggestions)
        return venv.interpreter

    def _missing_error(self, probed: list[Interpreter]) -> ReportedError:
        problems = "; ".join(f"{each.path}: {self._problem_of(each)}" for each in probed) or "no Python was found"
        if self._spec.python == "auto":
            hint = "Allow a private environment: `jupyter.install: auto`. Or set another Python: `jupyter.python`"
            return ReportedError("jupyter-missing", "Jupyter is not installed on the machine", problems, hint)
        named = probed[0].path
        pip = f"{shlex.quote(named)} -m pip install"
        if named in self._broken:
            return ReportedError(
                "jupyter-did-not-start",
                f"{self._broken_package} can't be imported in {named}, the profile's jupyter.python",
                self._broken[named],
                f"On the machine: `{pip} --upgrade --force-reinstall jupyter_server ipykernel`",
            )  # fmt: skip
        return ReportedError("jupyter-missing", "Jupyter is not installed in the profile's jupyter.python", problems,
                             f"On the machine: `{pip} jupyter_server ipykernel`")  # fmt: skip

    def _problem_of(self, interpreter: Interpreter) -> str:
        return (
            last_line(self._broken[interpreter.path])
            if interpreter.path in self._broken
            else interpreter.unusable_reason()
        )

    def _excluded_notes(self) -> list[str]:
        notes = [
            f"{path} is broken and was skipped: {last_line(why)}. `jupyter.python` sets the one to use"
            for path, why in self._broken.items()
        ]
        if self._recreated:
            why = last_line(self._recreated)
            notes.append(f"The private environment for Jupyter was broken ({why}) and has been recreated")
        return notes + self._venv_notes

    def _choice_notes(
        self, server: Interpreter, kernel: Interpreter | None, suggestions: list[Interpreter]
    ) -> list[str]:
        notes = []
        if kernel:
            notes.append(f"The kernel python3 runs {kernel.path}, which has {', '.join(kernel.frameworks)}; "
                         f"Jupyter itself runs {server.path}")  # fmt: skip
        else:
            notes += [
                f"{each.path} has {', '.join(each.frameworks)}. `jupyter.python: {each.path}` uses it"
                + ("" if each.kind else "after installing jupyter_server and ipykernel there")
                for each in suggestions[:5]
            ]
        if self._spec.packages and server.path != private_python():
            notes.append("jupyter.packages only applies to a private environment; "
                         f"Jupyter runs {server.path}, which is not changed")  # fmt: skip
        return notes + missing_packages_notes(kernel or server, is_private=(kernel or server).path == private_python())


def missing_packages_notes(kernel: Interpreter, *, is_private: bool) -> list[str]:
    """A note if a first cell such as ``import numpy`` would fail. Another framework takes the place of torch."""
    lacking = [name for name in kernel.missing if name != "torch" or not kernel.frameworks]
    if not {"numpy", "pandas"} & set(lacking):
        return []
    names = " or ".join(filter(None, [", ".join(lacking[:-1]), lacking[-1]]))
    if is_private:
        return [f"This environment has no {names}. Add them to jupyter.packages in the profile, or set another "
                "Python as jupyter.python"]  # fmt: skip
    return [f"{kernel.path} has no {names}. Install them there, or set another Python as jupyter.python in the profile"]


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no output"])[-1].strip()[:200]
