"""Which Python of this machine has a usable Jupyter: the one with the frameworks and an ipykernel wins."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

from .answers import Answers, Failure
from .folder import our_folder

PROBE_WITHIN_S = 20.0
MOST_CANDIDATES = 16
MARK = "remote-runtime-probe:"
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
    "python": ".".join(map(str, sys.version_info[:3])),
    "jupyter_server": version("jupyter_server"),
    "notebook": version("notebook"),
    "ipykernel": version("ipykernel"),
    "frameworks": [name for name in ("torch", "tensorflow", "jax") if there(name)],
    "own_environment": sys.prefix != sys.base_prefix,
    "pip": there("ensurepip") and there("venv"),
}))
"""


@dataclass(frozen=True)
class Found:
    """A Python and what it has. ``path`` is not resolved: a venv's python is a link that must keep its name."""

    path: str
    python: str
    jupyter_server: str = ""
    notebook: str = ""
    ipykernel: str = ""
    frameworks: tuple[str, ...] = ()
    own_environment: bool = False
    pip: bool = False

    @property
    def kind(self) -> str:
        """How Jupyter is started: ``server2``, ``server1``, ``notebook6``, or empty: no usable Jupyter."""
        if not self.ipykernel or numbers(self.python) < (3, 8):
            return ""
        if numbers(self.jupyter_server) >= (2,):
            return "server2"
        if numbers(self.jupyter_server) >= (1, 24):
            return "server1"
        return "notebook6" if (6, 4) <= numbers(self.notebook) < (7,) else ""

    @property
    def jupyter(self) -> str:
        return self.jupyter_server if self.kind != "notebook6" else "notebook " + self.notebook

    def lacks(self) -> str:
        """Why it is not usable, for a person."""
        if numbers(self.python) < (3, 8):
            return "Python " + (self.python or "does not run")
        old = f"jupyter_server {self.jupyter_server} is too old" if self.jupyter_server else "no jupyter_server"
        return old if self.ipykernel else old + ", no ipykernel" if not self.jupyter_server else "no ipykernel"


def numbers(version: str) -> tuple[int, ...]:
    """``2.21.1rc1`` → (2, 21, 1)."""
    matched = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in matched.group().split(".")) if matched else ()


def choose(probed: list[Found]) -> Found | None:
    """The first with a framework, else the first that has Jupyter at all."""
    usable = [found for found in probed if found.kind]
    return next((found for found in usable if found.frameworks), usable[0] if usable else None)


def look(python: str, answers: Answers) -> list[Found]:
    """Every candidate, probed, in order of preference; only ``python`` if the profile names one.

    Raises ``Failure`` ``python-missing`` when the named one does not run.
    """
    if python != "auto":
        path = shutil.which(os.path.expanduser(python)) or os.path.expanduser(python)
        probed = probe([path], answers)
        if not probed[0].python:
            raise Failure("python-missing", path + " does not run", "jupyter.python names it")
        return probed
    return probe(candidates(), answers)


def probe(paths: list[str], answers: Answers) -> list[Found]:
    """All at once: the time is that of the slowest one, at most ``PROBE_WITHIN_S``."""
    running = [(path, _start_probe(path)) for path in paths]
    until = time.monotonic() + PROBE_WITHIN_S
    while any(process and process.poll() is None for _, process in running) and time.monotonic() < until:
        answers.tick(0.02)
    return [_read(path, process) for path, process in running]


def lender(probed: list[Found], chosen: Found) -> Found | None:
    """A Python whose frameworks the kernels should have although it has no usable Jupyter, if ``chosen`` has none."""
    if chosen.frameworks:
        return None
    able = [found for found in probed if found.ipykernel and numbers(found.python) >= (3, 8) and found != chosen]
    return next((found for found in able if found.frameworks), None)


def candidates() -> list[str]:
    """Paths of Pythons, each environment once, at most ``MOST_CANDIDATES``."""
    own_path = os.environ.get("PATH", os.defpath)
    paths: list[str] = []
    for search in (login_path(), own_path):
        jupyter = shutil.which("jupyter", path=search)
        paths += [_behind(jupyter)] if jupyter else []
        paths += [found for name in ("python3", "python") for found in [shutil.which(name, path=search)] if found]
    paths += [_behind(part) for part in unit_programs()]
    home = os.path.expanduser("~")
    prefixes = ["/opt/conda/envs/jupyterlab4", "/opt/conda/envs/jupyterlab", "/opt/conda"]
    prefixes += ["/opt/micromamba/envs/jupyterlab"]
    prefixes += [os.path.join(home, name) for name in ("miniconda3", "anaconda3", "miniforge3", "mambaforge")]
    paths += [os.path.join(prefix, "bin", "python") for prefix in prefixes]
    paths += [sys.executable, "/usr/bin/python3", private_python()]
    unique: dict[str, str] = {}
    for path in paths:
        if path and os.access(path, os.X_OK) and not os.path.isdir(path):
            # The folder tells environments apart; the link inside it often leads to one and the same binary.
            unique.setdefault(os.path.realpath(os.path.dirname(path)), path)
    return list(unique.values())[:MOST_CANDIDATES]


def private_python() -> str:
    """The python of our own environment, whether it is there or not."""
    folder = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return os.path.join(our_folder(), "venv", *folder)


def login_path() -> str:
    """PATH as a login shell sets it: an exec channel often has a shorter one."""
    shell = _shell()
    if not shell:
        return ""
    try:
        done = subprocess.run(
            [shell, "-l", "-c", f"echo {MARK}; printenv PATH; echo {MARK}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10,
            start_new_session=True, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    parts = done.stdout.decode("utf-8", "replace").split(MARK)
    return parts[-2].strip() if len(parts) >= 3 else ""


def unit_programs() -> list[str]:
    """What a Deep Learning VM's own ``jupyter.service`` runs, see systemctl(1): ``{ path=… ; argv[]=… ; …}``."""
    if not shutil.which("systemctl"):
        return []
    try:
        done = subprocess.run(
            ["systemctl", "show", "-p", "ExecStart", "--value", "jupyter"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=5, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return []
    words = re.split(r"[\s;={}'\"]+", done.stdout.decode("utf-8", "replace"))
    return [word for word in words if re.match(r"/.*/(jupyter|python)[^/]*$", word)]


def _start_probe(path: str) -> subprocess.Popen[bytes] | None:
    try:
        return subprocess.Popen(
            [path, "-c", PROBE], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=os.sep
        )
    except OSError:
        return None


def _read(path: str, process: subprocess.Popen[bytes] | None) -> Found:
    """One that does not end is ended; one that said more than a pipe holds is such a one."""
    if process is None or process.stdout is None:
        return Found(path=path, python="")
    with process:
        if process.poll() is None:
            process.kill()
            return Found(path=path, python="")
        output = process.stdout.read(65536).decode("utf-8", "replace")
    for line in output.splitlines():
        if line.startswith(MARK):
            try:
                answer = json.loads(line[len(MARK) :])
                return Found(path=path, frameworks=tuple(answer.pop("frameworks")), **answer)
            except (ValueError, TypeError, KeyError):
                break
    return Found(path=path, python="")


def _behind(script: str) -> str:
    """The Python of a script such as ``jupyter``: its first line, or the python next to it."""
    if os.path.basename(script).startswith("python"):
        return script
    try:
        with open(script, "rb") as handle:
            head = handle.read(1024).decode("utf-8", "replace")
    except OSError:
        return ""
    # Long paths are written as a shell script: '''exec' "/very/long/path/bin/python" "$0" "$@"
    matched = re.match(r"#!\s*(/\S*/python[\d.]*)\s", head) or re.search(r"exec' \"?(/[^\"\n]*/python[\d.]*)\"? ", head)
    return matched.group(1) if matched else os.path.join(os.path.dirname(os.path.realpath(script)), "python")


def _shell() -> str:
    if sys.platform == "win32":
        return ""
    import pwd

    try:
        shell = pwd.getpwuid(os.geteuid()).pw_shell
    except KeyError:
        shell = os.environ.get("SHELL", "")
    return shell if os.access(shell, os.X_OK) and not shell.endswith(("nologin", "false")) else ""
