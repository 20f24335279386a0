"""A private environment with Jupyter in our folder, for a machine that has none. Nothing of the user's changes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping

from . import disk_space
from .data_dir import load_json, locked, our_folder, write_private
from .interpreters import Found, numbers, probe
from .python_candidates import private_python
from .reply import Answers, Failure

# Written last: an environment without it is one whose making was interrupted.
COMPLETE = "remote-runtime.json"
# The major versions that are tested: what comes after them may be anything.
NEEDED = ["jupyter_server>=1.24,<3", "ipykernel>=6,<8", "tornado>=6.1,<7"]
UNWANTED = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "VIRTUAL_ENV")
MOST_LINE_BYTES = 4096
# What pip and uv say when no index answers: their own words, urllib3's, and the system's.
NO_INDEX = re.compile(
    r"(?i)connection broken by|Could not fetch URL|Failed to fetch|Max retries exceeded|Cannot connect to proxy"
    r"|Failed to establish a new connection|name resolution|Name or service not known|Network is unreachable"
    r"|Connection (?:refused|reset|aborted)|No route to host|connect(?:ion to \S+)? timed? ?out|ReadTimeoutError"
    r"|ConnectTimeout|dns error|error sending request|CERTIFICATE_VERIFY_FAILED"
)
IN_ADDRESS = re.compile(r"//[^\s/@]+@")
# An index answered, and something else went wrong later.
INDEX = re.compile(r"from versions: (?!none)|ResolutionImpossible|Failed (?:building|to build)|Requires-Python")


def ensure(
    packages: list[str], probed: list[Found], env: Mapping[str, str], answers: Answers, broken: str
) -> tuple[Found, str]:
    """The private environment with Jupyter and ``packages``, and why it was made again, if it was. ``broken``: why the
    one that is there is of no use, where that is known.

    Raises ``Failure`` ``jupyter-install-failed`` or ``disk-full``.
    """
    directory = os.path.join(our_folder(), "venv")
    with locked(directory + ".lock", answers, why="Waiting for another installation of Jupyter on the machine"):
        done = installed()
        if done is not None:
            broken = broken or lacks(probe([private_python()], env, answers)[0])
            if broken:
                answers.say("Making the private environment for Jupyter again: " + broken.splitlines()[-1])
                done = None
        if done is None:
            shutil.rmtree(directory, ignore_errors=True)
            disk_space.refuse_unfit(our_folder())
            make(directory, base_for(probed), answers, env)
            done = []
        missing = [name for name in NEEDED + packages if name not in done]
        if missing:
            install(directory, NEEDED + packages, answers, env)  # all of them, so that pip keeps to their bounds
            write_private(os.path.join(directory, COMPLETE), json.dumps({"packages": [*done, *missing]}))
        found = probe([private_python()], env, answers)[0]
        if not found.kind:
            shutil.rmtree(directory, ignore_errors=True)
            raise Failure(
                "jupyter-install-failed", "The private environment for Jupyter does not work", found.lacks(),
                "Name a Python that has jupyter_server and ipykernel: `jupyter.python`",
            )  # fmt: skip
    return found, broken


def lacks(found: Found) -> str:
    return "" if found.kind else found.lacks()


def has(packages: list[str]) -> bool:
    """Whether the private environment is complete and has them all."""
    return set(NEEDED + packages) <= set(installed() or ())


def installed() -> list[str] | None:
    """What the private environment was told to have; None where there is none."""
    done = load_json(os.path.join(our_folder(), "venv", COMPLETE)).get("packages")
    return done if isinstance(done, list) else None


def base_for(probed: list[Found]) -> Found:
    """What the environment is made from: a Python with frameworks if one can lend them, else the newest."""
    outside = [found for found in probed if found.path != private_python() and numbers(found.python) >= (3, 8)]
    lending = [found for found in outside if found.frameworks and not found.own_environment]
    if lending:
        return lending[0]
    own = Found(path=sys.executable, python="{}.{}.{}".format(*sys.version_info[:3]))
    return max([*outside, own], key=lambda found: (found.pip, numbers(found.python)))


def make(directory: str, base: Found, answers: Answers, env: Mapping[str, str] | None = None) -> None:
    env = os.environ if env is None else env
    answers.say("Making a private environment for Jupyter with Python " + base.python)
    # An environment of its own cannot see the frameworks that its base has, unless it is told to.
    options = ["--system-site-packages"] if base.frameworks else []
    home = os.path.expanduser("~")
    uv = shutil.which("uv", path=env.get("PATH")) or shutil.which("uv", path=f"{home}/.local/bin:{home}/.cargo/bin")
    python = os.path.join(directory, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
    # venv hides what its ensurepip says, so that is run by itself.
    attempts = [
        [[base.path, "-m", "venv", "--without-pip", *options, directory], [python, "-m", "ensurepip", "--default-pip"]],
        [[base.path, "-m", "virtualenv", *options, directory]],
        [[uv, "venv", "--seed", "--python", base.path, *options, directory]] if uv else [],
    ]
    said = []
    for commands in filter(None, attempts):
        status, output = 0, ""
        for command in commands:
            if status == 0:
                status, output = watch(command, answers, tell=False, env=env)
        if status == 0:
            return
        said.append(f"{' '.join(command[:3])}: {output}")
        full = disk_space.full_disk(output)
        shutil.rmtree(directory, ignore_errors=True)
        if full:
            raise full
    raise no_index(said[-1]) if is_cut_off(said[-1]) else no_venv(base, said, uv)


def no_venv(base: Found, said: list[str], uv: str | None) -> Failure:
    version = ".".join(str(part) for part in numbers(base.python)[:2])
    bare = re.search(r"No module named '?\"?(?:venv|ensurepip)|ensurepip is not available|no module venv", said[0])
    return Failure(
        "jupyter-install-failed",
        "No private environment can be made on the machine",
        f"{base.path} can make none" + ("" if uv else ", and there is no uv") + ":\n" + "\n".join(said),
        f"On the machine: `sudo apt-get install python{version}-venv`" if bare else
        "Name a Python that has jupyter_server and ipykernel: `jupyter.python`",
    )  # fmt: skip


def install(directory: str, packages: list[str], answers: Answers, env: Mapping[str, str]) -> None:
    answers.say("Installing Jupyter into our folder on the machine")
    options = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    asked = os.path.join(directory, "requirements.txt")  # an address may have a password, and all see arguments
    write_private(asked, "\n".join(packages) + "\n")
    status, output = watch(
        [private_python(), "-m", "pip", "install", *options, "-r", asked], answers, tell=True, env=env
    )
    os.unlink(asked)
    output = IN_ADDRESS.sub("//***@", output)
    if status != 0:
        full = disk_space.full_disk(output)
        if installed() is None:
            shutil.rmtree(directory, ignore_errors=True)
        if full:
            raise full
        if is_cut_off(output):
            raise no_index(output)
        raise Failure(
            "jupyter-install-failed", "pip could not install " + IN_ADDRESS.sub("//***@", ", ".join(packages)), output
        )


def is_cut_off(output: str) -> bool:
    return bool(NO_INDEX.search(output)) and not INDEX.search(output)


def no_index(output: str) -> Failure:
    """A package index that cannot be reached. pip repeats itself: the first of its lines that says so is enough."""
    told = [line.strip() for line in output.splitlines() if NO_INDEX.search(line)]
    nat = "a VM without external address needs Cloud NAT or a mirror (`pip config set global.index-url URL` there)"
    trust = "let pip there trust the certificate of your proxy or mirror: `pip config set global.cert FILE`"
    return Failure(
        "jupyter-install-failed",
        "The machine reaches no package index, so Jupyter cannot be installed there",
        told[0][:400],
        (trust if "CERTIFICATE_VERIFY_FAILED" in output else nat) + ", or a Jupyter that is there: `jupyter.python`",
    )


def watch(command: list[str], answers: Answers, *, tell: bool, env: Mapping[str, str]) -> tuple[int, str]:
    """Run it to its end. Answers its status and the end of its output; raises ``Failure`` when the client's time is
    over. The command ends with us."""
    env = {name: value for name, value in env.items() if name not in UNWANTED}
    # Of pip: three tries of 15 s say as much as six.
    env.setdefault("PIP_RETRIES", "2")
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
                raise too_long("\n".join(lines))
            latest = lines[-1].strip() if lines else ""
            if tell and latest != told and latest.startswith(("Collecting", "Downloading", "Installing", "Building")):
                answers.say("Installing Jupyter: " + latest[:100])
                told = latest
            answers.tick(0.2)
    finally:
        if process.poll() is None and reader.is_alive():
            process.kill()
        process.wait()
    return process.returncode, "\n".join(lines)


def too_long(output: str) -> Failure:
    if is_cut_off(output):
        return no_index(output)
    return Failure("jupyter-install-failed", "Installing Jupyter took too long", output or "pip said nothing",
                   "Give it more time: `timeouts.jupyter`")  # fmt: skip


def _collect(process: subprocess.Popen[bytes], lines: deque[str]) -> None:
    while process.stdout and (line := process.stdout.readline(MOST_LINE_BYTES)):
        lines.append(line.decode("utf-8", "replace").rstrip())
