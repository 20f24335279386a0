"""The error family: what a person or a script is told when something fails.

Every error has a stable kebab-case ``code``, says ``what`` happened, ``why``, and (``hint``) what to do next.

    RemoteRuntimeError              exit code
    ├── UsageError                  2   the command line or the profile
    ├── CloudError                  1   Compute Engine
    ├── SshError                    1   reaching and entering the machine
    ├── MachineError                1   Python, Jupyter and the bridge on the machine
    ├── LocalError                  1   this computer: ports, keeper, state files
    ├── HealthError                 1   the path from the browser to Jupyter
    ├── DeadlinePassed              1   a wait that ended
    ├── Bug                         3   ours
    └── Interrupted                 130 Ctrl-C, a closed terminal, `down` during `up`
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class RemoteRuntimeError(Exception):
    """An expected failure. Raises ``ValueError`` when ``code`` is not in the class's ``codes``."""

    codes: ClassVar[Mapping[str, str]] = {}
    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, what: str, why: str = "", hint: str = "") -> None:
        if code not in self.codes:
            raise ValueError(f"{code!r} is not a code of {type(self).__name__}")
        super().__init__(what)
        self.code = code
        self.what = what
        self.why = why
        self.hint = hint
        self.remains: tuple[str, ...] = ()  # what was done before it failed and could not be undone

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" if self.why else self.what

    def as_dict(self) -> dict[str, str]:
        """``{"code", "what", "why", "hint"}``: the ``error`` of the JSON output and of the control channel."""
        return {"code": self.code, "what": self.what, "why": self.why, "hint": self.hint}


class UsageError(RemoteRuntimeError):
    exit_code = 2
    codes = {
        "usage": "the command line cannot be understood",
        "profile-not-found": "no profile has this name",
        "profile-invalid": "the profile has mistakes; all are listed with file, line and key",
    }


class CloudError(RemoteRuntimeError):
    codes = {
        "no-credentials": "no usable Google credentials",
        "instance-not-found": "the project has no such instance",
        "instance-ambiguous": "several instances fit the profile",
        "instance-stopped": "the instance is not running and the profile or the command does not start it",
        "instance-not-startable": "Compute Engine could not start the instance",
        "no-address": "the instance has no address of the kind the profile asks for",
        "permission-denied": "these credentials may not do this",
        "quota-exceeded": "the project's quota does not allow this",
        "cloud-unreachable": "the Compute Engine API does not answer",
        "demo-failed": "the demo machine could not be started",
    }


class SshError(RemoteRuntimeError):
    codes = {
        "ssh-unreachable": "nothing answers at the machine's SSH port",
        "ssh-refused": "the machine's SSH server refuses the connection or the command",
        "ssh-config-unsupported": "~/.ssh/config asks for something that is not supported",
        "host-key-unknown": "the machine's host key cannot be verified",
        "host-key-changed": "the machine shows another host key than the one we know",
        "no-usable-key": "the machine accepts none of the keys",
        "passphrase-needed": "a key is encrypted and nobody is there to unlock it",
        "two-factor-needed": "the machine wants a second factor and nobody is there to give it",
        "iap-refused": "Identity-Aware Proxy refuses the connection",
        "iap-backend-unreachable": "Identity-Aware Proxy cannot reach the machine",
    }


class MachineError(RemoteRuntimeError):
    codes = {
        "python-missing": "the machine has no usable Python",
        "jupyter-missing": "no Jupyter on the machine, and the profile forbids installing one",
        "jupyter-install-failed": "the private environment for Jupyter could not be made",
        "jupyter-did-not-start": "the Jupyter server died or did not answer in time",
        "bridge-not-loaded": "Jupyter answers, but without the bridge",
        "jupyter-did-not-stop": "processes of the Jupyter server could not be ended",
        "disk-full": "the machine's disk is full",
        "environment-read-only": "the environment's folders cannot be written",
        "folder-unusable": "our folder on the machine cannot be made or written",
        "machine-busy": "another remote-runtime works on this server on the machine",
        "machine-answer-invalid": "the machine's answer is not what our launcher sends",
    }


class LocalError(RemoteRuntimeError):
    codes = {
        "port-in-use": "the local port belongs to another program",
        "keeper-died": "the background process ended unexpectedly",
        "keeper-unresponsive": "the background process does not answer",
        "busy": "another command is working on this runtime, or its kernels are busy",
        "not-up": "there is no such runtime",
        "left-behind": "`down` could not take everything away",
        "state-unreadable": "a state file is damaged or from a newer version",
        "state-dir-unusable": "the state directory cannot be used",
    }


class HealthError(RemoteRuntimeError):
    codes = {
        "not-answering": "no answer through the forwarded port",
        "token-refused": "Jupyter refuses the token",
        "stranger-answered": "something answers that is not our server",
        "origin-refused": "Jupyter refuses Colab's origin, or accepts a foreign one",
        "kernel-did-not-answer": "a kernel does not start, or runs no cell",
    }


class DeadlinePassed(RemoteRuntimeError):
    codes = {"deadline-passed": "a wait was longer than its limit"}

    def __init__(self, what: str, why: str = "", hint: str = "", code: str = "deadline-passed") -> None:
        super().__init__(code, what, why, hint)


class Bug(RemoteRuntimeError):
    exit_code = 3
    codes = {"bug": "a bug of remote-runtime; its log has the details"}


class Interrupted(RemoteRuntimeError):
    exit_code = 130
    codes = {"interrupted": "the command was interrupted"}

    def __init__(self, what: str = "interrupted", why: str = "", hint: str = "", code: str = "interrupted") -> None:
        super().__init__(code, what, why, hint)


class KeeperBug(Exception):
    """A bug of ours in a background process. Its text is the path of the log that has the traceback."""


FAMILY: tuple[type[RemoteRuntimeError], ...] = (
    UsageError, CloudError, SshError, MachineError, LocalError, HealthError, DeadlinePassed, Bug,
    Interrupted,
)  # fmt: skip
CODES: Mapping[str, str] = {code: meaning for kind in FAMILY for code, meaning in kind.codes.items()}


def from_code(code: str, what: str, why: str = "", hint: str = "") -> RemoteRuntimeError:
    """The error of this code. Raises ``ValueError`` for a code that is not ours."""
    for kind in FAMILY:
        if code in kind.codes:
            return kind(what=what, why=why, hint=hint, code=code)
    raise ValueError(f"unknown error code {code!r}")


def from_dict(error: Mapping[str, str]) -> RemoteRuntimeError:
    """The error that ``as_dict`` described. Raises ``ValueError`` for a code that is not ours."""
    return from_code(error["code"], error["what"], error.get("why", ""), error.get("hint", ""))
