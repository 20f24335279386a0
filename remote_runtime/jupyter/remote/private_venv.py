"""A private environment with Jupyter in the remote-runtime directory, for a machine without one. Changes nothing else
there."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping
from typing import NamedTuple

from ...launcher.remote.reply import ReplyWriter, ReportedError
from . import disk_space
from .data_dir import load_json, locked, root_dir, write_private
from .installer import (
    Installer,
    find_uv,
    first_error,
    index_error,
    is_index_unreachable,
    redact_urls,
    run_command,
)
from .interpreters import Interpreter, parse_version, probe
from .python_candidates import private_python

# Written last: without it, creating the environment was interrupted.
COMPLETE = "remote-runtime.json"
# The major versions that are tested.
REQUIRED = ["jupyter_server>=1.24,<3", "ipykernel>=6,<8", "tornado>=6.1,<7"]
LAB = "jupyterlab>=4,<5"
LAB_RETRY_S = 86_400.0
NAME_PYTHON = "Use a Python that has jupyter_server and ipykernel: `jupyter.python`"


class PrivateVenv(NamedTuple):
    """``recreated``: why an earlier environment was replaced, or empty. ``notes``: for people."""

    interpreter: Interpreter
    recreated: str
    notes: list[str]


def ensure(
    packages: list[str],
    probed: list[Interpreter],
    env: Mapping[str, str],
    reply: ReplyWriter,
    broken: str,
    *,
    lab: bool = False,
) -> PrivateVenv:
    """The private environment with Jupyter, ``packages`` and, if ``lab``, JupyterLab, which may fail to install.
    ``broken``: why the present one is not usable, if that is known.

    Raises ``ReportedError`` ``jupyter-install-failed`` or ``disk-full``.
    """
    directory = os.path.join(root_dir(), "venv")
    notes: list[str] = []
    waiting = "Waiting for another Jupyter installation on the machine"
    with reply.installing(), locked(directory + ".lock", reply, why=waiting):
        done, uv = installed_packages(), find_uv(env)
        if done is not None:
            broken = broken or unusable_reason(probe([private_python()], env, reply)[0])
            if broken:
                reply.progress("Recreating the private environment for Jupyter: " + broken.splitlines()[-1])
                done = None
        if done is None:
            shutil.rmtree(directory, ignore_errors=True)
            disk_space.refuse_unfit(root_dir())
            uv, notes = create(directory, choose_base(probed), reply, env, uv)
        if done is None or not is_complete(packages, lab=lab):
            notes += complete(directory, packages, done or [], env, reply, uv, lab=lab)
        interpreter = probe([private_python()], env, reply)[0]
        if not interpreter.kind:
            shutil.rmtree(directory, ignore_errors=True)
            raise ReportedError(
                "jupyter-install-failed",
                "The private environment for Jupyter does not work",
                interpreter.unusable_reason(),
                NAME_PYTHON,
            )
    return PrivateVenv(interpreter, broken, notes)


def complete(
    directory: str,
    packages: list[str],
    done: list[str],
    env: Mapping[str, str],
    reply: ReplyWriter,
    uv: str,
    *,
    lab: bool,
) -> list[str]:
    """Installs what is missing; returns notes. JupyterLab comes last and gets half of the time that is left: Jupyter
    starts without it. Raises as ``ensure``."""
    installer = Installer(directory, env, reply, uv)
    wanted = REQUIRED + packages  # all, so that their bounds hold
    missing = [name for name in wanted if name not in done]
    if missing:
        try:
            installer.install(wanted)
        except BaseException:
            if not done:
                shutil.rmtree(directory, ignore_errors=True)
            raise
    state: dict[str, object] = {"packages": [*done, *missing]}
    if lab and LAB not in done:
        try:
            installer.install([*wanted, LAB], what="JupyterLab", within_s=reply.remaining_s() / 2)
            state = {"packages": [*done, *missing, LAB]}
        except ReportedError as failure:
            installer.notes.append(lab_note(failure))
            state["lab_failed"] = time.time()
    write_private(os.path.join(directory, COMPLETE), json.dumps(state))
    return installer.notes


def lab_note(failure: ReportedError) -> str:
    error = failure.error
    why = f"{error['what']}: {first_error(error['why'])}"
    return f"JupyterLab is not installed, so `open --lab` does not work. {why}. `jupyter.lab: never` skips it"


def unusable_reason(interpreter: Interpreter) -> str:
    return "" if interpreter.kind else interpreter.unusable_reason()


def is_complete(packages: list[str], *, lab: bool) -> bool:
    """Whether the private environment exists and has them all. JupyterLab counts as there for a day after it could not
    be installed."""
    done, failed_at = installed_packages() or [], _state().get("lab_failed")
    has_lab = LAB in done or (isinstance(failed_at, float) and time.time() - failed_at < LAB_RETRY_S)
    return set(REQUIRED + packages) <= set(done) and (has_lab or not lab)


def installed_packages() -> list[str] | None:
    """The packages of the private environment; None if there is none."""
    done = _state().get("packages")
    return done if isinstance(done, list) else None


def _state() -> dict[str, object]:
    return load_json(os.path.join(root_dir(), "venv", COMPLETE))


def choose_base(probed: list[Interpreter]) -> Interpreter:
    """The Python to create the environment from: one whose frameworks it can use, else the newest."""
    outside = [found for found in probed if found.path != private_python() and parse_version(found.python) >= (3, 8)]
    with_frameworks = [found for found in outside if found.frameworks and not found.own_environment]
    if with_frameworks:
        return with_frameworks[0]
    own = Interpreter(path=sys.executable, python="{}.{}.{}".format(*sys.version_info[:3]))
    return max([*outside, own], key=lambda found: (found.pip, parse_version(found.python)))


def create(
    directory: str, base: Interpreter, reply: ReplyWriter, env: Mapping[str, str], uv: str
) -> tuple[str, list[str]]:
    """Creates an environment that has pip, with uv if its path is given. Returns ``uv``, empty if it failed, and
    notes."""
    reply.progress("Creating a private environment for Jupyter with Python " + base.python)
    # The frameworks of the base are visible only with this option.
    options = ["--system-site-packages"] if base.frameworks else []
    python = os.path.join(directory, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
    # venv hides the output of ensurepip, so that runs separately.
    attempts = [
        [[uv, "venv", "--seed", "--python", base.path, *options, directory]] if uv else [],
        [[base.path, "-m", "venv", "--without-pip", *options, directory], [python, "-m", "ensurepip", "--default-pip"]],
        [[base.path, "-m", "virtualenv", *options, directory]],
    ]
    outputs: list[str] = []
    for commands in filter(None, attempts):
        status, output = 0, ""
        for command in commands:
            if status == 0:
                status, output = run_command(command, reply, env=env)
        if status == 0 and (not uv or command[0] == uv):
            return uv, []
        if status == 0:
            return "", [f"uv failed, so pip installed Jupyter: {first_error(outputs[0])}"]
        full = disk_space.disk_full_cause(output)
        shutil.rmtree(directory, ignore_errors=True)
        if full:
            raise full
        outputs.append(f"{' '.join(command[:3])}:\n{redact_urls(output)}")
        if command[0] == uv:
            reply.progress(f"uv failed; using pip instead: {first_error(output)}")
    raise index_error(outputs[-1]) if is_index_unreachable(outputs[-1]) else venv_error(base, outputs, uv)


def venv_error(base: Interpreter, outputs: list[str], uv: str) -> ReportedError:
    version = ".".join(str(part) for part in parse_version(base.python)[:2])
    lacks_module = re.search(
        r"No module named '?\"?(?:venv|ensurepip)|ensurepip is not available|no module venv", "\n".join(outputs)
    )
    return ReportedError(
        "jupyter-install-failed",
        "Can't create a private environment on the machine",
        f"{base.path} can't create one" + ("" if uv else ", and uv is not installed") + ":\n" + "\n".join(outputs),
        f"On the machine: `sudo apt-get install python{version}-venv`" if lacks_module else NAME_PYTHON,
    )
