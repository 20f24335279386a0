"""Processes of this machine. A pid may be reused, so it counts only together with the moment at which it started."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    import subprocess

Background = TypeVar("Background", bound="BackgroundProcess")
LINUX = sys.platform.startswith("linux")
MAX_FILE_BYTES = 1 << 17
MAX_OUTPUT_BYTES = 1 << 16
KILL_WAIT_S = 1.0
READ_BYTES = 1 << 16


def own_uid() -> int:
    """This process's user; 0 is root. -1 where users have no number (Windows)."""
    if sys.platform == "win32":
        return -1
    return os.geteuid()


class Process(NamedTuple):
    pid: int
    parent: int
    group: int
    command: str


def start_id(pid: int) -> str:
    """Differs for every process that ever has this pid; empty when there is no such process, or it is a zombie."""
    if pid <= 1:
        return ""
    if LINUX:
        fields = read_stat(pid)
        return "" if not fields or fields[0] in "ZX" else boot_id() + "/" + fields[19]
    if os.name == "nt":
        return _windows_start_id(pid)
    listed = _ps("-o", "stat=,lstart=", "-p", str(pid)).strip()
    return "" if listed.startswith("Z") else listed.partition(" ")[2].strip()


def process_tree(pid: int, marker: str) -> dict[int, str]:
    """Process ``pid``, its descendants, its process group, and each process with ``marker`` in its command line (a
    kernel whose server died): pid → start id. ``pid`` 0: only those with the marker."""
    processes = list_processes()
    chosen = {process.pid for process in processes if marker in process.command}
    if pid > 1:
        chosen.add(pid)
        chosen |= {process.pid for process in processes if process.group == pid}
    grown = True
    while grown:
        more = {process.pid for process in processes if process.parent in chosen} - chosen
        chosen |= more
        grown = bool(more)
    chosen -= {os.getpid(), os.getppid()}
    return {each: started for each in sorted(chosen) for started in [start_id(each)] if started}


def still_alive(members: dict[int, str]) -> dict[int, str]:
    """Those that still run; a pid that was given to a new process does not count."""
    return {pid: started for pid, started in members.items() if start_id(pid) == started}


def terminate(members: dict[int, str], grace_s: float) -> dict[int, str]:
    """Send SIGTERM, and SIGKILL after ``grace_s``. Returns those that still run then."""
    kill = getattr(signal, "SIGKILL", signal.SIGTERM)
    for sign, within_s in ((signal.SIGTERM, grace_s), (kill, 5.0)):
        for pid in still_alive(members):
            _send_signal(pid, sign)
        wait_until_gone(members, within_s)
    return still_alive(members)


def wait_until_gone(members: dict[int, str], within_s: float) -> None:
    """Returns when none of them runs or the time is over, even if the client disconnects meanwhile."""
    until = time.monotonic() + within_s
    while still_alive(members) and time.monotonic() < until:
        reap_children()
        time.sleep(0.05)
    reap_children()


def list_processes() -> list[Process]:
    """All that the system shows; none on Windows."""
    if LINUX:
        found = []
        for pid in list_pids():
            fields = read_stat(pid)
            if fields:
                command = read_text(f"/proc/{pid}/cmdline").replace("\0", " ")
                found.append(Process(pid, int(fields[1]), int(fields[2]), command))
        return found
    if os.name == "nt":
        return []
    listed = [line.split(None, 3) for line in _ps("-A", "-ww", "-o", "pid=,ppid=,pgid=,command=").splitlines()]
    return [Process(int(parts[0]), int(parts[1]), int(parts[2]), parts[3]) for parts in listed if len(parts) == 4]


def reap_children() -> None:
    """Children of this process that ended would otherwise stay as zombies meanwhile."""
    if sys.platform == "win32":
        return
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def list_pids() -> list[int]:
    """Those in /proc."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def read_stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third (state) on, see proc(5); empty when there is no such process."""
    return read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()


def read_environment(pid: int) -> dict[str, str]:
    """The environment that the process was started with; empty where the system does not show it."""
    entries = read_text(f"/proc/{pid}/environ", 1 << 20, "surrogateescape").split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def read_text(path: str, max_bytes: int = MAX_FILE_BYTES, errors: str = "replace") -> str:
    """The start of a file; empty when it cannot be read."""
    content = b""
    try:
        with open(path, "rb", buffering=0) as handle:  # unbuffered: the idle watchdog reads thousands
            while len(content) < max_bytes:
                part = handle.read(min(READ_BYTES, max_bytes - len(content)))
                if not part:
                    break
                content += part
    except OSError:
        return ""
    return content.decode("utf-8", errors)


def boot_id() -> str:
    """Changes with each boot; start times count from there. Empty where the system does not report it."""
    return read_text("/proc/sys/kernel/random/boot_id").strip()


class BackgroundProcess:
    """A program that runs without input while other work is done. The ``with`` block ends it.

    ``streams``: which of its streams are read: ``stdout``, ``stderr`` or ``both``."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None, streams: str = "both") -> None:
        import subprocess

        self._process: subprocess.Popen[bytes] | None = None
        self.start_error = ""
        stdout = subprocess.DEVNULL if streams == "stderr" else subprocess.PIPE
        stderr = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "both": subprocess.STDOUT}[streams]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, cwd=os.sep, env=env
            )
        except OSError as exc:
            self.start_error = str(exc.strerror)

    def __enter__(self: Background) -> Background:
        return self

    def __exit__(self, *_: object) -> None:
        import subprocess

        if self._process is not None:
            self._process.kill()
            for stream in filter(None, (self._process.stdout, self._process.stderr)):
                stream.close()
            with contextlib.suppress(subprocess.TimeoutExpired):  # a lost GPU can block nvidia-smi in the kernel
                self._process.wait(KILL_WAIT_S)

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait(self, sleep: Callable[[float], None], until: float) -> tuple[int | None, str]:
        """Its exit status and output. The status is None if it was not started, or has not ended at ``until``, as when
        its output fills the pipe."""
        while self.is_running() and time.monotonic() < until:
            sleep(0.02)
        stream = self._process and (self._process.stdout or self._process.stderr)
        if self._process is None or not stream or self.is_running():
            return None, ""
        return self._process.returncode, stream.read(MAX_OUTPUT_BYTES).decode("utf-8", "replace")


def run(
    *command: str, stdin: bytes = b"", timeout_s: float = 10.0, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end. Raises ``OSError`` and ``subprocess.TimeoutExpired``."""
    import subprocess

    return subprocess.run(command, input=stdin, capture_output=True, timeout=timeout_s, env=env)


def try_run(
    *command: str, stdin: bytes = b"", timeout_s: float = 10.0, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes] | None:
    """As ``run``; None when it cannot be started or does not end in time."""
    import subprocess

    try:
        return run(*command, stdin=stdin, timeout_s=timeout_s, env=env)
    except (OSError, subprocess.TimeoutExpired):
        return None


def output_of(*command: str, timeout_s: float = 10.0) -> str:
    """What it prints on stdout; empty when it cannot be started or does not end in time."""
    done = try_run(*command, timeout_s=timeout_s)
    return done.stdout.decode("utf-8", "replace") if done is not None else ""


def detached_popen_args() -> dict[str, Any]:
    """Arguments of ``Popen`` with which the process outlives the launcher and its SSH channel."""
    if os.name == "nt":
        return {"creationflags": 0x00000008 | 0x00000200}  # DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP
    return {"start_new_session": True}


def _send_signal(pid: int, sign: int) -> None:
    try:
        os.kill(pid, sign)
    except (ProcessLookupError, PermissionError):
        return


def _ps(*args: str) -> str:
    return run("ps", *args).stdout.decode("utf-8", "replace")


def _windows_start_id(pid: int) -> str:
    """The creation time (GetProcessTimes) of a process that has not ended. os.kill(pid, 0) would end it here."""
    import ctypes

    kernel32 = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]  # only there on Windows
    query_limited_information, still_active = 0x1000, 259
    handle = kernel32.OpenProcess(query_limited_information, 0, pid)
    if not handle:
        return ""
    try:
        code = ctypes.c_ulong()
        times = [ctypes.c_ulonglong() for _ in range(4)]
        kernel32.GetExitCodeProcess(handle, ctypes.byref(code))
        kernel32.GetProcessTimes(handle, *[ctypes.byref(moment) for moment in times])
        return str(times[0].value) if code.value == still_active else ""
    finally:
        kernel32.CloseHandle(handle)
