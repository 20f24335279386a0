"""A private environment with Jupyter in our folder, for a machine without one. Changes nothing of the user's."""

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
from .data_dir import load_json, locked, root_dir, write_private
from .interpreters import Interpreter, parse_version, probe
from .python_candidates import private_python
from .reply import ReplyWriter, ReportedError

# Written last: without it, making the environment was interrupted.
COMPLETE = "remote-runtime.json"
# The major versions that are tested.
REQUIRED = ["jupyter_server>=1.24,<3", "ipykernel>=6,<8", "tornado>=6.1,<7"]
REMOVED_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "VIRTUAL_ENV")
MAX_LINE_BYTES = 4096
# Messages of pip, uv, urllib3 and the system when no index answers.
INDEX_UNREACHABLE = re.compile(
    r"(?i)connection broken by|Could not fetch URL|Failed to fetch|Max retries exceeded|Cannot connect to proxy"
    r"|Failed to establish a new connection|name resolution|Name or service not known|Network is unreachable"
    r"|Connection (?:refused|reset|aborted)|No route to host|connect(?:ion to \S+)? timed? ?out|ReadTimeoutError"
    r"|ConnectTimeout|dns error|error sending request|CERTIFICATE_VERIFY_FAILED"
)
URL_CREDENTIALS = re.compile(r"//[^\s/@]+@")
# Messages that show that an index answered, and something else failed later.
INDEX_ANSWERED = re.compile(
    r"from versions: (?!none)|ResolutionImpossible|Failed (?:building|to build)|Requires-Python"
)


def ensure(
    packages: list[str], probed: list[Interpreter], env: Mapping[str, str], reply: ReplyWriter, broken: str
) -> tuple[Interpreter, str]:
    """The private environment with Jupyter and ``packages``, and why it was made again, if it was. ``broken``: why the
    present one is not usable, if that is known.

    Raises ``ReportedError`` ``jupyter-install-failed`` or ``disk-full``.
    """
    directory = os.path.join(root_dir(), "venv")
    with locked(directory + ".lock", reply, why="Waiting for another installation of Jupyter on the machine"):
        done = installed_packages()
        if done is not None:
            broken = broken or unusable_reason(probe([private_python()], env, reply)[0])
            if broken:
                reply.progress("Making the private environment for Jupyter again: " + broken.splitlines()[-1])
                done = None
        if done is None:
            shutil.rmtree(directory, ignore_errors=True)
            disk_space.refuse_unfit(root_dir())
            create(directory, choose_base(probed), reply, env)
            done = []
        missing = [name for name in REQUIRED + packages if name not in done]
        if missing:
            install(directory, REQUIRED + packages, reply, env)  # all, so that pip keeps to their bounds
            write_private(os.path.join(directory, COMPLETE), json.dumps({"packages": [*done, *missing]}))
        interpreter = probe([private_python()], env, reply)[0]
        if not interpreter.kind:
            shutil.rmtree(directory, ignore_errors=True)
            raise ReportedError(
                "jupyter-install-failed",
                "The private environment for Jupyter does not work",
                interpreter.unusable_reason(),
                "Name a Python that has jupyter_server and ipykernel: `jupyter.python`",
            )
    return interpreter, broken


def unusable_reason(interpreter: Interpreter) -> str:
    return "" if interpreter.kind else interpreter.unusable_reason()


def has_packages(packages: list[str]) -> bool:
    """Whether the private environment is complete and has them all."""
    return set(REQUIRED + packages) <= set(installed_packages() or ())


def installed_packages() -> list[str] | None:
    """The packages of the private environment; None if there is none."""
    done = load_json(os.path.join(root_dir(), "venv", COMPLETE)).get("packages")
    return done if isinstance(done, list) else None


def choose_base(probed: list[Interpreter]) -> Interpreter:
    """The Python to make the environment from: one whose frameworks it can use, else the newest."""
    outside = [found for found in probed if found.path != private_python() and parse_version(found.python) >= (3, 8)]
    with_frameworks = [found for found in outside if found.frameworks and not found.own_environment]
    if with_frameworks:
        return with_frameworks[0]
    own = Interpreter(path=sys.executable, python="{}.{}.{}".format(*sys.version_info[:3]))
    return max([*outside, own], key=lambda found: (found.pip, parse_version(found.python)))


def create(directory: str, base: Interpreter, reply: ReplyWriter, env: Mapping[str, str] | None = None) -> None:
    env = os.environ if env is None else env
    reply.progress("Making a private environment for Jupyter with Python " + base.python)
    # The frameworks of the base are visible only with this option.
    options = ["--system-site-packages"] if base.frameworks else []
    home = os.path.expanduser("~")
    uv = shutil.which("uv", path=env.get("PATH")) or shutil.which("uv", path=f"{home}/.local/bin:{home}/.cargo/bin")
    python = os.path.join(directory, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
    # venv hides the output of ensurepip, so that runs separately.
    attempts = [
        [[base.path, "-m", "venv", "--without-pip", *options, directory], [python, "-m", "ensurepip", "--default-pip"]],
        [[base.path, "-m", "virtualenv", *options, directory]],
        [[uv, "venv", "--seed", "--python", base.path, *options, directory]] if uv else [],
    ]
    outputs = []
    for commands in filter(None, attempts):
        status, output = 0, ""
        for command in commands:
            if status == 0:
                status, output = run_command(command, reply, show_progress=False, env=env)
        if status == 0:
            return
        outputs.append(f"{' '.join(command[:3])}: {output}")
        full = disk_space.disk_full_cause(output)
        shutil.rmtree(directory, ignore_errors=True)
        if full:
            raise full
    raise index_error(outputs[-1]) if is_index_unreachable(outputs[-1]) else venv_error(base, outputs, uv)


def venv_error(base: Interpreter, outputs: list[str], uv: str | None) -> ReportedError:
    version = ".".join(str(part) for part in parse_version(base.python)[:2])
    lacks_module = re.search(
        r"No module named '?\"?(?:venv|ensurepip)|ensurepip is not available|no module venv", outputs[0]
    )
    return ReportedError(
        "jupyter-install-failed",
        "No private environment can be made on the machine",
        f"{base.path} can make none" + ("" if uv else ", and there is no uv") + ":\n" + "\n".join(outputs),
        f"On the machine: `sudo apt-get install python{version}-venv`"
        if lacks_module
        else "Name a Python that has jupyter_server and ipykernel: `jupyter.python`",
    )


def install(directory: str, packages: list[str], reply: ReplyWriter, env: Mapping[str, str]) -> None:
    reply.progress("Installing Jupyter into our folder on the machine")
    options = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    # In a file: a URL may hold a password, and arguments are visible to all users.
    requirements = os.path.join(directory, "requirements.txt")
    write_private(requirements, "\n".join(packages) + "\n")
    status, output = run_command(
        [private_python(), "-m", "pip", "install", *options, "-r", requirements], reply, show_progress=True, env=env
    )
    os.unlink(requirements)
    output = URL_CREDENTIALS.sub("//***@", output)
    if status != 0:
        full = disk_space.disk_full_cause(output)
        if installed_packages() is None:
            shutil.rmtree(directory, ignore_errors=True)
        if full:
            raise full
        if is_index_unreachable(output):
            raise index_error(output)
        raise ReportedError(
            "jupyter-install-failed",
            "pip could not install " + URL_CREDENTIALS.sub("//***@", ", ".join(packages)),
            output,
        )


def is_index_unreachable(output: str) -> bool:
    return bool(INDEX_UNREACHABLE.search(output)) and not INDEX_ANSWERED.search(output)


def index_error(output: str) -> ReportedError:
    """The package index cannot be reached. Shows only the first such line of pip, which repeats it."""
    lines = [line.strip() for line in output.splitlines() if INDEX_UNREACHABLE.search(line)]
    nat = "a VM without external address needs Cloud NAT or a mirror (`pip config set global.index-url URL` there)"
    trust = "let pip there trust the certificate of your proxy or mirror: `pip config set global.cert FILE`"
    return ReportedError(
        "jupyter-install-failed",
        "The machine reaches no package index, so Jupyter cannot be installed there",
        lines[0][:400],
        (trust if "CERTIFICATE_VERIFY_FAILED" in output else nat) + ", or a Jupyter that is there: `jupyter.python`",
    )


def run_command(
    command: list[str], reply: ReplyWriter, *, show_progress: bool, env: Mapping[str, str]
) -> tuple[int, str]:
    """Runs it; returns its status and the end of its output. Raises ``ReportedError`` when the client's time is over.
    The command never outlives the call."""
    env = {name: value for name, value in env.items() if name not in REMOVED_VARIABLES}
    # pip's default is 5 retries of 15 s.
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
    shown = ""
    try:
        while reader.is_alive():
            if reply.remaining_s() == 0.0:
                raise timeout_error("\n".join(lines))
            latest = lines[-1].strip() if lines else ""
            if (
                show_progress
                and latest != shown
                and latest.startswith(("Collecting", "Downloading", "Installing", "Building"))
            ):
                reply.progress("Installing Jupyter: " + latest[:100])
                shown = latest
            reply.sleep(0.2)
    finally:
        if process.poll() is None and reader.is_alive():
            process.kill()
        process.wait()
    return process.returncode, "\n".join(lines)


def timeout_error(output: str) -> ReportedError:
    if is_index_unreachable(output):
        return index_error(output)
    return ReportedError(
        "jupyter-install-failed",
        "Installing Jupyter took too long",
        output or "pip said nothing",
        "Give it more time: `timeouts.jupyter`",
    )


def _collect(process: subprocess.Popen[bytes], lines: deque[str]) -> None:
    while process.stdout and (line := process.stdout.readline(MAX_LINE_BYTES)):
        lines.append(line.decode("utf-8", "replace").rstrip())
