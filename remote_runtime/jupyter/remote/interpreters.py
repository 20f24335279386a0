"""Probes the Pythons of this machine for Jupyter, ipykernel and frameworks."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass

from ...launcher.remote.reply import ReplyWriter, ReportedError
from . import processes
from .python_candidates import find_candidates, find_environments, private_python

PROBE_TIMEOUT_S = 20.0
MARKER = "remote-runtime-probe:"
PROBE = """
import sys
sys.path[:] = [path for path in sys.path if path]
import json
from importlib import metadata, util
def version(name):
    try:
        return metadata.version(name) or ""
    except metadata.PackageNotFoundError:
        return ""
def there(name):
    spec = util.find_spec(name)
    return spec is not None and spec.origin is not None
print("remote-runtime-probe:" + json.dumps({
    "executable": sys.executable or "",
    "python": ".".join(map(str, sys.version_info[:3])),
    "jupyter_server": version("jupyter_server"),
    "notebook": version("notebook"),
    "ipykernel": version("ipykernel"),
    "frameworks": [name for name in ("torch", "tensorflow", "jax") if there(name)],
    "missing": [name for name in ("numpy", "pandas", "torch") if not there(name)],
    "own_environment": sys.prefix != sys.base_prefix,
    "pip": there("ensurepip") and there("venv"),
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python and its packages. ``path`` is not resolved: a venv's python is a link. ``executable``:
    ``sys.executable``, which differs if ``path`` is a script such as pyenv's. ``missing``: common packages that it
    lacks."""

    path: str
    python: str
    executable: str = ""
    jupyter_server: str = ""
    notebook: str = ""
    ipykernel: str = ""
    frameworks: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    own_environment: bool = False
    pip: bool = False

    @property
    def kind(self) -> str:
        """The kind of Jupyter: ``server2``, ``server1``, ``notebook6``, or empty if there is no usable one."""
        if not self.ipykernel or parse_version(self.python) < (3, 8):
            return ""
        if parse_version(self.jupyter_server) >= (2,):
            return "server2"
        if parse_version(self.jupyter_server) >= (1, 24):
            return "server1"
        return "notebook6" if (6, 4) <= parse_version(self.notebook) < (7,) else ""

    @property
    def bin_dir(self) -> str:
        """The folder of its environment's programs, such as ``pip``."""
        return os.path.dirname(self.executable if os.access(self.executable, os.X_OK) else self.path)

    @property
    def jupyter_label(self) -> str:
        return self.jupyter_server if self.kind != "notebook6" else "notebook " + self.notebook

    def unusable_reason(self) -> str:
        """Why it is not usable, for people."""
        if parse_version(self.python) < (3, 8):
            return "Python " + (self.python or "does not run")
        old = f"jupyter_server {self.jupyter_server} is too old" if self.jupyter_server else "no jupyter_server"
        return old if self.ipykernel else old + ", no ipykernel" if not self.jupyter_server else "no ipykernel"


def parse_version(version: str) -> tuple[int, ...]:
    """``2.21.1rc1`` → (2, 21, 1)."""
    matched = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in matched.group().split(".")) if matched else ()


def choose(probed: list[Interpreter]) -> Interpreter | None:
    """The first usable one with a framework, else the first usable one."""
    usable = [interpreter for interpreter in probed if interpreter.kind]
    return next((found for found in usable if found.frameworks), usable[0] if usable else None)


@dataclass(frozen=True)
class ProbedInterpreters:
    """``interpreters``: in order of preference, the private environment last. ``suggestions``: those with frameworks
    that are only mentioned, because they are not on a login's PATH and a Jupyter was found there."""

    interpreters: list[Interpreter]
    suggestions: list[Interpreter]


def probe_all(python: str, env: Mapping[str, str], reply: ReplyWriter) -> ProbedInterpreters:
    """All candidates; only ``python`` if the profile names one. ``env``: a login's.

    Raises ``ReportedError`` ``python-missing`` if the named one does not run.
    """
    if python != "auto":
        named = os.path.expanduser(python)
        probed = probe([shutil.which(named, path=env.get("PATH")) or named], env, reply)
        if not probed[0].python:
            raise ReportedError("python-missing", probed[0].path + " can't be run", "`jupyter.python` is set to it",
                                "Set a Python that runs there: `jupyter.python`")  # fmt: skip
        return ProbedInterpreters(probed, [])
    first = find_candidates(env)
    probed = probe(first, env, reply)
    ours = [found for found in probed if found.path == private_python()]
    probed = [found for found in probed if found.path != private_python()]
    chosen = choose(probed)
    if chosen and (chosen.frameworks or kernel_interpreter(probed, chosen)):
        return ProbedInterpreters(probed + ours, [])
    others = probe(find_environments(env, first), env, reply)
    if chosen:
        return ProbedInterpreters(probed + ours, [found for found in others if found.frameworks])
    return ProbedInterpreters(probed + others + ours, [])


def probe(paths: list[str], env: Mapping[str, str], reply: ReplyWriter) -> list[Interpreter]:
    """All at once, for at most ``PROBE_TIMEOUT_S``. A single one, which the profile names, may take half of the time
    that is left."""
    running = [(path, processes.BackgroundProcess([path, "-c", PROBE], env, streams="stdout")) for path in paths]
    limit_s = max(PROBE_TIMEOUT_S, reply.remaining_s() / 2) if len(paths) == 1 else PROBE_TIMEOUT_S
    until = time.monotonic() + limit_s
    while any(process.is_running() for _, process in running) and time.monotonic() < until:
        reply.sleep(0.02)
    return [_read_probe(path, process) for path, process in running]


def kernel_interpreter(probed: list[Interpreter], chosen: Interpreter) -> Interpreter | None:
    """A Python with frameworks for the kernels, though it has no usable Jupyter; None if ``chosen`` has frameworks."""
    if chosen.frameworks:
        return None
    usable = [
        interpreter
        for interpreter in probed
        if interpreter.ipykernel and parse_version(interpreter.python) >= (3, 8) and interpreter != chosen
    ]
    return next((found for found in usable if found.frameworks), None)


def _read_probe(path: str, process: processes.BackgroundProcess) -> Interpreter:
    with process:
        output = process.wait(time.sleep, 0.0)[1]
    for line in output.splitlines():
        if line.startswith(MARKER):
            try:
                answer = json.loads(line[len(MARKER) :])
                frameworks, missing = tuple(answer.pop("frameworks")), tuple(answer.pop("missing"))
                return Interpreter(path=path, frameworks=frameworks, missing=missing, **answer)
            except (ValueError, TypeError, KeyError):
                break
    return Interpreter(path=path, python="")
