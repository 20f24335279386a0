"""Installs packages into the private environment, with uv where the machine has it, else with pip."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping

from ...launcher.remote.reply import ReplyWriter, ReportedError
from . import disk_space, processes
from .data_dir import write_private
from .python_candidates import private_python

REMOVED_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "VIRTUAL_ENV", "UV_PYTHON")
DEFAULT_VARIABLES = {
    # pip's default is 5 retries of 15 s, uv's 3 of 30 s.
    "PIP_RETRIES": "2", "UV_HTTP_RETRIES": "2", "UV_HTTP_TIMEOUT": "15", "UV_NO_PROGRESS": "1",
    # As pip does, trust the certificates of the system; its name before uv 0.11.
    "UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1",
}  # fmt: skip
MAX_LINE_BYTES = 4096
UV_FOLDERS = (os.path.join(".local", "bin"), os.path.join(".cargo", "bin"))
INDEX_VARIABLES = ("INDEX_URL", "EXTRA_INDEX_URL", "NO_INDEX", "FIND_LINKS")
UV_INDEX_VARIABLES = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_CONFIG_FILE", *("UV_" + name for name in INDEX_VARIABLES))
INDEX_SETTING = re.compile(r"(?m)^\s*(?:(?:extra[-_])?index[-_]url|no[-_]index|find[-_]links)\s*[=:]")
PROGRESS = ("Collecting", "Downloading", "Installing", "Building", "Resolved", "Prepared")
# Messages of pip, uv, urllib3 and the system when no index answers.
INDEX_UNREACHABLE = re.compile(
    r"(?i)connection broken by|Could not fetch URL|Failed to fetch|Max retries exceeded|Cannot connect to proxy"
    r"|Failed to establish a new connection|name resolution|Name or service not known|Network is unreachable"
    r"|Connection (?:refused|reset|aborted)|No route to host|connect(?:ion to \S+)? timed? ?out|ReadTimeoutError"
    r"|ConnectTimeout|dns error|error sending request|CERTIFICATE_VERIFY_FAILED"
)
# Messages that show that an index answered, and something else failed later.
INDEX_ANSWERED = re.compile(
    r"from versions: (?!none)|ResolutionImpossible|Failed (?:building|to build)|Requires-Python"
)
URL_CREDENTIALS = re.compile(r"//[^\s/@]+@")


def find_uv(env: Mapping[str, str]) -> str:
    """The path of uv: from ``UV``, on ``env``'s PATH, or where its installer and cargo put it. Empty if there is none,
    or if pip is configured for a package index and uv is not."""
    if pip_has_index(env) and not uv_has_index(env):
        return ""
    home = os.path.expanduser("~")
    folders = os.pathsep.join(os.path.join(home, folder) for folder in UV_FOLDERS)
    named = shutil.which(env.get("UV", ""))
    return named or shutil.which("uv", path=env.get("PATH")) or shutil.which("uv", path=folders) or ""


def pip_has_index(env: Mapping[str, str]) -> bool:
    """Whether a variable or one of pip's configuration files names an index. Source: pip's documentation,
    "Configuration"."""
    if any(env.get("PIP_" + name) for name in INDEX_VARIABLES):
        return True
    home = os.path.expanduser("~")
    config = env.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    folders = [config, "/etc/xdg"]
    if sys.platform == "darwin":
        support = os.path.join("Library", "Application Support")
        folders += [os.path.join(home, support), os.path.join(os.sep, support)]
    files = [os.path.join(folder, "pip", "pip.conf") for folder in folders]
    files += ["/etc/pip.conf", os.path.join(home, ".pip", "pip.conf"), env.get("PIP_CONFIG_FILE", "")]
    return any(INDEX_SETTING.search(processes.read_text(path, errors="replace")) for path in files if path)


def uv_has_index(env: Mapping[str, str]) -> bool:
    config = env.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    files = [os.path.join(folder, "uv", "uv.toml") for folder in (config, "/etc", "/etc/xdg")]
    return any(env.get(name) for name in UV_INDEX_VARIABLES) or any(map(os.path.exists, files))


class Installer:
    """``uv``: its path, or empty for pip. ``notes``: for people."""

    def __init__(self, directory: str, env: Mapping[str, str], reply: ReplyWriter, uv: str) -> None:
        self._directory = directory
        self._env = env
        self._reply = reply
        self._uv = uv
        self.notes: list[str] = []

    def install(self, packages: list[str], *, what: str = "", within_s: float = float("inf")) -> None:
        """Raises ``ReportedError`` ``disk-full`` or ``jupyter-install-failed``, also when ``within_s`` is over."""
        until, label = time.monotonic() + within_s, what or "Jupyter"
        # In a file: a URL may hold a password, and arguments are visible to all users.
        requirements = os.path.join(self._directory, "requirements.txt")
        write_private(requirements, "\n".join(packages) + "\n")
        try:
            if self._uv and self._install_with_uv(requirements, label, until):
                return
            self._reply.progress(f"Installing {label} with pip")
            pip = [private_python(), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
            status, output = self._run([*pip, "--progress-bar", "off", "-r", requirements], label, until)
        finally:
            os.unlink(requirements)
        if status != 0:
            raise install_error(what or redact_urls(", ".join(packages)), output)

    def _install_with_uv(self, requirements: str, what: str, until: float) -> bool:
        self._reply.progress(f"Installing {what} with uv")
        command = [self._uv, "pip", "install", "--python", private_python(), "-r", requirements]
        status, output = self._run(command, what, until)
        if status == 0:
            return True
        full = disk_space.disk_full_cause(output)
        if full:
            raise full
        self.report_fallback(output)
        return False

    def report_fallback(self, output: str) -> None:
        self.notes.append(f"uv failed, so pip installed Jupyter: {first_error(output)}")
        self._reply.progress(f"uv failed; using pip instead: {first_error(output)}")
        self._uv = ""

    def _run(self, command: list[str], what: str, until: float) -> tuple[int, str]:
        status, output = run_command(command, self._reply, env=self._env, shown_as=f"Installing {what}: ", until=until)
        return status, redact_urls(output)


def redact_urls(text: str) -> str:
    """Without the user names and passwords of URLs."""
    return URL_CREDENTIALS.sub("//***@", text)


def first_error(output: str) -> str:
    """What pip or uv names as the error, with the last of the causes that uv lists."""
    lines = [line.strip(" ×├╰─▶│") for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error:")]
    causes = [line.partition(": ")[2] for line in lines if line.lower().startswith(("cause:", "caused by:"))]
    named = [errors[0].partition(": ")[2]] if errors else lines[-1:]
    return redact_urls(": ".join([*named, *causes[-1:]]))[:200] or "no output"


def install_error(names: str, output: str) -> ReportedError:
    full = disk_space.disk_full_cause(output)
    if full:
        return full
    if is_index_unreachable(output):
        return index_error(output)
    return ReportedError("jupyter-install-failed", f"Can't install {names} with pip", output)


def is_index_unreachable(output: str) -> bool:
    return bool(INDEX_UNREACHABLE.search(output)) and not INDEX_ANSWERED.search(output)


def index_error(output: str) -> ReportedError:
    """The package index cannot be reached. Shows only the first such line of pip, which repeats it."""
    lines = [line.strip() for line in output.splitlines() if INDEX_UNREACHABLE.search(line)]
    nat = "give a VM without an external address Cloud NAT or a mirror (`pip config set global.index-url URL` there)"
    trust = "make pip there trust the certificate of your proxy or mirror: `pip config set global.cert FILE`"
    hint = trust if "CERTIFICATE_VERIFY_FAILED" in output else nat
    return ReportedError(
        "jupyter-install-failed",
        "The machine can't reach a package index",
        lines[0][:400],
        f"{hint[0].upper()}{hint[1:]}, or use a Python there that has Jupyter: `jupyter.python`",
    )


def run_command(
    command: list[str],
    reply: ReplyWriter,
    *,
    env: Mapping[str, str],
    shown_as: str = "",
    until: float = float("inf"),
) -> tuple[int, str]:
    """Runs it; returns its status and the end of its output. ``shown_as``: begins the text of its own progress lines;
    empty: they are not shown. Raises ``ReportedError`` at ``until``, or when the client's time is over. The command
    never outlives the call."""
    env = {**DEFAULT_VARIABLES, **{name: value for name, value in env.items() if name not in REMOVED_VARIABLES}}
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
            if reply.remaining_s() == 0.0 or time.monotonic() > until:
                raise timeout_error("\n".join(lines))
            latest = lines[-1].strip() if lines else ""
            if shown_as and latest != shown and latest.startswith(PROGRESS):
                reply.progress(shown_as + latest[:100])
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
        f"its last output: {last}" if (last := output.strip().rpartition("\n")[2]) else "it printed nothing",
        "Allow more time: `timeouts.install`",
    )


def _collect(process: subprocess.Popen[bytes], lines: deque[str]) -> None:
    while process.stdout and (line := process.stdout.readline(MAX_LINE_BYTES)):
        lines.append(line.decode("utf-8", "replace").rstrip())
