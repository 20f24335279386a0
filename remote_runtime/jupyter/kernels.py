"""The kernels that a runtime's server offers, and the environments of its machine that cannot be kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.callbacks import Progress, RunCommand
from ..core.deadline import Deadline
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Server
from ..core.profile import JupyterSettings
from ..core.sanitize import clean_line
from ..launcher.call import call_launcher, invalid_reply

MAX_KERNELS = 100
MAX_PATH_CHARS = 300
KINDS = ("conda", "pixi", "venv", "uv")


@fast_dataclass(frozen=True)
class Environment:
    """``kind``: ``conda``, ``pixi``, ``venv``, ``uv``, or empty for a listed path that is none. ``python``: its version
    such as ``3.12``; empty if unknown."""

    kind: str
    path: str
    python: str = ""


@fast_dataclass(frozen=True)
class Kernel:
    """``environment``: the one that it runs in, if it was found. ``interpreter``: its Python, or the program of its
    kernel.json."""

    name: str
    display_name: str
    language: str
    interpreter: str
    environment: Environment | None = None


@fast_dataclass(frozen=True)
class UnusableEnvironment:
    """``fix``: a command for the machine's shell, or empty."""

    environment: Environment
    why: str
    fix: str = ""


@fast_dataclass(frozen=True)
class KernelList:
    kernels: tuple[Kernel, ...]
    unusable: tuple[UnusableEnvironment, ...] = ()
    notes: tuple[str, ...] = ()


def list_kernels(
    run: RunCommand,
    key: str,
    settings: JupyterSettings,
    *,
    progress: Progress,
    deadline: Deadline,
    attached: Server | None = None,
) -> KernelList:
    """Searches the machine's environments again, and offers them in the server with this ``key``. Without such a
    server: what `up` would offer. ``attached``: the user's own server instead, in which nothing is changed. Raises as
    ``call_launcher``."""
    request: dict[str, Any] = {
        "do": "kernels", "key": key, "kernels": list(settings.kernels), "working_dir": settings.working_dir,
    }  # fmt: skip
    if attached is not None:
        request["attached"] = {"port": attached.port, "token": attached.token.reveal()}
    reply = call_launcher(
        run, request, program="jupyter", python=settings.python, progress=progress, deadline=deadline
    )  # fmt: skip
    match reply:
        case {"kernels": list(kernels), "problems": list(problems), "notes": list(notes)}:
            return KernelList(
                tuple(_kernel(each) for each in kernels[:MAX_KERNELS]),
                tuple(_unusable(each) for each in problems[:MAX_KERNELS]),
                tuple(clean_line(str(note), 300) for note in notes[:20]),
            )
    raise invalid_reply("expected a list of kernels")


def _kernel(document: object) -> Kernel:
    match document:
        case {"name": str(name), "display_name": str(shown), "language": str(language), "program": str(program),
              "environment": environment}:  # fmt: skip
            found = _environment(environment) if isinstance(environment, dict) else None
            interpreter = f"{found.path}/bin/python" if found else clean_line(program, MAX_PATH_CHARS)
            return Kernel(clean_line(name, 100), clean_line(shown, 200), clean_line(language, 40), interpreter, found)
    raise invalid_reply("invalid description of a kernel")


def _unusable(document: object) -> UnusableEnvironment:
    match document:
        case {"kind": kind, "path": path, "python": python, "why": str(why), "fix": str(fix)}:
            environment = _environment({"kind": kind, "path": path, "python": python})
            return UnusableEnvironment(environment, clean_line(why, 300), clean_line(fix, 500))
    raise invalid_reply("invalid description of an environment")


def _environment(document: Mapping[str, Any]) -> Environment:
    match document:
        case {"kind": str(kind), "path": str(path)} if kind in (*KINDS, ""):
            version = clean_line(str(document.get("python") or ""), 10)
            return Environment(kind, clean_line(path, MAX_PATH_CHARS), version)
    raise invalid_reply("invalid description of an environment")
