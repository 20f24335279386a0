"""A private environment with Jupyter in our folder, for a machine that has none. Nothing of the user's changes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from collections import deque

from .answers import Answers, Failure
from .folder import load_json, locked, our_folder, write_private
from .interpreters import Found, numbers, private_python, probe

# Written last: an environment without it is one whose making was interrupted.
COMPLETE = "remote-runtime.json"
NEEDED = ["jupyter_server", "ipykernel"]
UNWANTED = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "VIRTUAL_ENV")


def ensure(packages: list[str], probed: list[Found], answers: Answers) -> Found:
    """The private environment with Jupyter and ``packages``.

    Raises ``Failure`` ``jupyter-install-failed`` or ``disk-full``.
    """
    directory = os.path.join(our_folder(), "venv")
    with locked(directory + ".lock", answers, why="Waiting for another installation of Jupyter on the machine"):
        done = load_json(os.path.join(directory, COMPLETE)).get("packages")
        if done is None:
            shutil.rmtree(directory, ignore_errors=True)
            make(directory, base_for(probed), answers)
            done = []
        missing = [name for name in NEEDED + packages if name not in done]
        if missing:
            install(directory, missing, answers)
            write_private(os.path.join(directory, COMPLETE), json.dumps({"packages": [*done, *missing]}))
        found = probe([private_python()], answers)[0]
        if not found.kind:
            shutil.rmtree(directory, ignore_errors=True)
            raise Failure("jupyter-install-failed", "The private environment for Jupyter does not work", found.lacks())
    return found


def has(packages: list[str]) -> bool:
    """Whether the private environment is complete and has them all."""
    done = load_json(os.path.join(our_folder(), "venv", COMPLETE)).get("packages", [])
    return set(NEEDED + packages) <= set(done)


def base_for(probed: list[Found]) -> Found:
    """What the environment is made from: a Python with frameworks if one can lend them, else the newest."""
    outside = [found for found in probed if found.path != private_python() and numbers(found.python) >= (3, 8)]
    lending = [found for found in outside if found.frameworks and not found.own_environment]
    if lending:
        return lending[0]
    own = Found(path=sys.executable, python="{}.{}.{}".format(*sys.version_info[:3]))
    return max([*outside, own], key=lambda found: (found.pip, numbers(found.python)))


def make(directory: str, base: Found, answers: Answers) -> None:
    answers.say("Making a private environment for Jupyter with Python " + base.python)
    # An environment of its own cannot see the frameworks that its base has, unless it is told to.
    options = ["--system-site-packages"] if base.frameworks else []
    uv = shutil.which("uv") or shutil.which("uv", path=os.path.expanduser("~/.local/bin:~/.cargo/bin"))
    attempts = [[base.path, "-m", "venv", *options, directory], [base.path, "-m", "virtualenv", *options, directory]]
    attempts += [[uv, "venv", "--seed", "--python", base.path, *options, directory]] if uv else []
    said = []
    for command in attempts:
        status, output = watch(command, answers, tell=False)
        if status == 0:
            return
        said.append(output)
        shutil.rmtree(directory, ignore_errors=True)
    version = ".".join(str(part) for part in numbers(base.python)[:2])
    raise Failure(
        "jupyter-install-failed",
        "No private environment can be made on the machine",
        f"{base.path} has neither venv nor virtualenv, and there is no uv:\n{said[0]}",
        f"On the machine: `sudo apt-get install python{version}-venv`",
    )


def install(directory: str, packages: list[str], answers: Answers) -> None:
    answers.say("Installing Jupyter into our folder on the machine")
    options = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    status, output = watch([private_python(), "-m", "pip", "install", *options, *packages], answers, tell=True)
    if status != 0:
        if not has([]):
            shutil.rmtree(directory, ignore_errors=True)
        raise Failure("jupyter-install-failed", "pip could not install " + ", ".join(packages), output)


def watch(command: list[str], answers: Answers, *, tell: bool) -> tuple[int, str]:
    """Run it to its end. Answers its status and the end of its output; raises ``Failure`` ``disk-full`` or when the
    client's time is over. The command ends with us."""
    env = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, cwd=os.sep
        )
    except OSError as exc:
        return 127, str(exc)
    lines: deque[str] = deque(maxlen=25)
    reader = threading.Thread(target=_collect, args=(process, lines), daemon=True)
    reader.start()
    told = ""
    try:
        while reader.is_alive():
            if answers.remaining_s() == 0.0:
                raise Failure("jupyter-install-failed", "Installing Jupyter took too long", "\n".join(lines),
                              "Give it more time: `timeouts.jupyter`")  # fmt: skip
            latest = lines[-1].strip() if lines else ""
            if tell and latest != told and latest.startswith(("Collecting", "Downloading", "Installing", "Building")):
                answers.say("Installing Jupyter: " + latest[:100])
                told = latest
            answers.tick(0.2)
    finally:
        if process.poll() is None and reader.is_alive():
            process.kill()
        process.wait()
    output = "\n".join(lines)
    if process.returncode != 0 and os.strerror(errno.ENOSPC) in output:
        raise Failure("disk-full", "The machine's disk is full", "no space left for " + our_folder())
    return process.returncode, output


def _collect(process: subprocess.Popen[bytes], lines: deque[str]) -> None:
    for line in process.stdout or ():
        lines.append(line.decode("utf-8", "replace").rstrip())
