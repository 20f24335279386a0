"""Processes of this machine. A pid alone proves nothing: it is used together with the moment the process was born."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import NamedTuple

LINUX = sys.platform.startswith("linux")


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
    """A word that no other process with this pid has; empty when there is no such process (or it is a zombie)."""
    if pid <= 1:
        return ""
    if LINUX:
        fields = read_stat(pid)
        return "" if not fields or fields[0] in "ZX" else _boot_id() + "/" + fields[19]
    if os.name == "nt":
        return _windows_start_id(pid)
    listed = _ps("-o", "stat=,lstart=", "-p", str(pid)).strip()
    return "" if listed.startswith("Z") else listed.partition(" ")[2].strip()


def process_tree(pid: int, marker: str) -> dict[int, str]:
    """Process ``pid``, its descendants, its process group, and whatever has ``mark`` in its command line (kernels
    whose server died): pid → birth. ``pid`` 0: only the marked ones."""
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
    """Ask them to end, then force them. Answers those that nevertheless live on."""
    kill = getattr(signal, "SIGKILL", signal.SIGTERM)
    for sign, within_s in ((signal.SIGTERM, grace_s), (kill, 5.0)):
        for pid in still_alive(members):
            _send_signal(pid, sign)
        wait_until_gone(members, within_s)
    return still_alive(members)


def wait_until_gone(members: dict[int, str], within_s: float) -> None:
    """Wait until none of them lives or the time is over; a client that leaves meanwhile changes nothing."""
    until = time.monotonic() + within_s
    while still_alive(members) and time.monotonic() < until:
        reap_children()
        time.sleep(0.05)
    reap_children()


def list_processes() -> list[Process]:
    if LINUX:
        return [process for name in os.listdir("/proc") if name.isdigit() for process in _from_proc(int(name))]
    if os.name == "nt":
        return []
    found = []
    for line in _ps("-A", "-ww", "-o", "pid=,ppid=,pgid=,command=").splitlines():
        parts = line.split(None, 3)
        if len(parts) == 4:
            found.append(Process(int(parts[0]), int(parts[1]), int(parts[2]), parts[3]))
    return found


def reap_children() -> None:
    """Children of this process that ended would otherwise stay as zombies while we wait for them."""
    if sys.platform == "win32":
        return
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _send_signal(pid: int, sign: int) -> None:
    try:
        os.kill(pid, sign)
    except (ProcessLookupError, PermissionError):
        return


def _from_proc(pid: int) -> list[Process]:
    fields = read_stat(pid)
    if not fields:
        return []
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as handle:
            command = handle.read(65536).replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return []
    return [Process(pid, int(fields[1]), int(fields[2]), command)]


def read_stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third (state) on; see proc(5). The name before may hold spaces."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as handle:
            return handle.read().rpartition(")")[2].split()
    except OSError:
        return []


def _boot_id() -> str:
    """Start times count from the boot: after a reboot another process could have the same pid and time."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
            return handle.read().strip()
    except OSError:
        return ""


def _ps(*args: str) -> str:
    import subprocess

    done = subprocess.run(
        ["ps", *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10
    )
    return done.stdout.decode("utf-8", "replace")


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
