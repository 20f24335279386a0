"""The errors that users and scripts see.

Every error has a stable kebab-case ``code``, says ``what`` happened, ``why``, and (``hint``) what to do next. The other
modules of this package are the catalogue: meaning, cause and fix of each code.

    RemoteRuntimeError              exit code
    ├── UsageError                  2   the command line or the profile
    ├── CloudError                  1   Compute Engine
    ├── SshError                    1   SSH connections and logins
    ├── MachineError                1   Python, Jupyter and the bridge on the machine
    ├── LocalError                  1   this computer: ports, keeper, state files
    ├── HealthError                 1   the connection from the browser to Jupyter
    ├── DeadlinePassed              1   time limits
    ├── Bug                         3   internal errors
    └── Interrupted                 130 Ctrl-C, a closed terminal, `down` during `up`
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .catalogue import CatalogueEntry as CatalogueEntry
from .catalogue import fill_in_profile
from .cloud import CLOUD
from .cluster import CLUSTER
from .local import LOCAL
from .machine import HEALTH, MACHINE
from .profile_problem import ProfileProblem as ProfileProblem
from .ssh import SSH
from .usage import BUG, DEADLINE, INTERRUPTED, USAGE


class RemoteRuntimeError(Exception):
    """An expected failure. Raises ``ValueError`` when ``code`` is not in the class's ``codes``.

    The docstrings of the subclasses are the headings of the catalogue."""

    codes: ClassVar[Mapping[str, CatalogueEntry]] = {}
    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, what: str, why: str = "", hint: str = "") -> None:
        if code not in self.codes:
            raise ValueError(f"{code!r} is not a code of {type(self).__name__}")
        super().__init__(what)
        self.code = code
        self.what = what
        self.why = why
        self.hint = hint
        self.remains: tuple[str, ...] = ()  # what could not be undone, in words

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" if self.why else self.what

    def as_document(self) -> dict[str, Any]:
        """The ``error`` of the JSON output: ``as_dict``, and ``remains`` where something could not be undone."""
        return {**self.as_dict(), **({"remains": list(self.remains)} if self.remains else {})}

    def as_dict(self) -> dict[str, Any]:
        """``{"code", "what", "why", "hint"}``: the ``error`` of the state file and of the control channel."""
        return {"code": self.code, "what": self.what, "why": self.why, "hint": self.hint}


class UsageError(RemoteRuntimeError):
    """The command line and the profile."""

    exit_code = 2
    codes = USAGE


class ProfileError(UsageError):
    """``profile-invalid`` with ``problems``, of which ``why`` has one a line, sorted by line. ``excerpt``: the source
    line of a single problem, up to the end of what is wrong; empty where it must not be shown."""

    def __init__(
        self, what: str, why: str, hint: str, path: str, problems: tuple[ProfileProblem, ...], excerpt: str = ""
    ) -> None:
        super().__init__("profile-invalid", what, why, hint)
        self.path = path
        self.problems = problems
        self.excerpt = excerpt

    def as_dict(self) -> dict[str, Any]:
        """Also ``"problems": [{"file", "line", "column", "key", "message"}]``."""
        return {**super().as_dict(), "problems": [problem.as_dict(self.path) for problem in self.problems]}


class CloudError(RemoteRuntimeError):
    """Compute Engine."""

    codes = CLOUD


class SshError(RemoteRuntimeError):
    """SSH connections and logins."""

    codes = SSH


class MachineError(RemoteRuntimeError):
    """Python, Jupyter and the bridge on the machine."""

    codes = {**MACHINE, **CLUSTER}


class LocalError(RemoteRuntimeError):
    """This computer: ports, background processes, state files."""

    codes = LOCAL


class HealthError(RemoteRuntimeError):
    """The connection from the browser to Jupyter."""

    codes = HEALTH


class DeadlinePassed(RemoteRuntimeError):
    """Time limits."""

    codes = DEADLINE

    def __init__(self, what: str, why: str = "", hint: str = "", code: str = "deadline-passed") -> None:
        super().__init__(code, what, why, hint)


class Bug(RemoteRuntimeError):
    """Internal errors."""

    exit_code = 3
    codes = BUG


class Interrupted(RemoteRuntimeError):
    """Ctrl-C, a closed terminal, `down` during `up`."""

    exit_code = 130
    codes = INTERRUPTED

    def __init__(self, what: str = "Cancelled", why: str = "", hint: str = "", code: str = "interrupted") -> None:
        super().__init__(code, what, why, hint)


class KeeperBug(Exception):
    """A bug in a background process. Its text is the path of the log that has the traceback."""


ERROR_CLASSES: tuple[type[RemoteRuntimeError], ...] = (
    UsageError, CloudError, SshError, MachineError, LocalError, HealthError, DeadlinePassed, Bug,
    Interrupted,
)  # fmt: skip
CODES: Mapping[str, CatalogueEntry] = {code: entry for kind in ERROR_CLASSES for code, entry in kind.codes.items()}


def page(code: str) -> str:
    """The catalogue's entry as Markdown that is also plain text. Raises ``KeyError`` for an unknown code."""
    entry, exit_code = CODES[code], next(kind.exit_code for kind in ERROR_CLASSES if code in kind.codes)
    return (
        f"# {code}\n\nMeaning: {entry.meaning}\n\nCause: {entry.cause}\n\nFix: {entry.fix}\n\nExit code: {exit_code}\n"
    )


def with_default_hint(error: RemoteRuntimeError, reference: str = "") -> RemoteRuntimeError:
    """``error`` with the catalogue's fix where it has no hint, and with ``reference`` in its commands."""
    if not error.hint and not isinstance(error, (Interrupted, Bug)):
        error.hint = CODES[error.code].fix
    error.why, error.hint = fill_in_profile(error.why, reference), fill_in_profile(error.hint, reference)
    return error


def describe_bug(error: Exception) -> str:
    """The message for an unexpected exception. Its own text may contain a secret; it is in the log, which is
    redacted."""
    return f"this is a bug in remote-runtime ({type(error).__name__}); its log has the details"


def from_code(code: str, what: str, why: str = "", hint: str = "") -> RemoteRuntimeError:
    """The error of this code. Raises ``ValueError`` for an unknown code."""
    for kind in ERROR_CLASSES:
        if code in kind.codes:
            return kind(what=what, why=why, hint=hint, code=code)
    raise ValueError(f"unknown error code {code!r}")


def from_dict(error: Mapping[str, str]) -> RemoteRuntimeError:
    """The error that ``as_dict`` described. Raises ``ValueError`` for an unknown code."""
    return from_code(error["code"], error["what"], error.get("why", ""), error.get("hint", ""))
