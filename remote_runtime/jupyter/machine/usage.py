"""Whether somebody uses the machine: kernels, Jupyter's terminals, and what runs in SSH sessions and other terminals.

Looks at /proc, so sessions are seen on Linux only; kernels and Jupyter's terminals everywhere.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from . import processes, proof, server
from .folder import server_directories

# What our own launcher has on its command line: its sessions are no use of the machine.
OURS = "sys.stdin.buffer.read(int(sys.stdin.buffer.readline()))"
FIRST_PERSON, NOBODY = 1000, 65534
# A Jupyter that does not answer is judged by the processor time that it and its kernels take.
BUSY_SHARE = 0.05


@dataclass(frozen=True)
class Use:
    """``what`` is in use now, in words, empty for nothing; ``ago_s``: how long ago something was, where known."""

    what: str = ""
    ago_s: float = math.inf


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    session: int
    tty: int
    uid: int
    name: str


class Looking:
    """Remembers between two looks what processor time was taken. ``sessions``: whether SSH sessions and terminals of
    the machine count too; ``everywhere``: so do all servers of ours, for what ends the machine ends them."""

    def __init__(self, directory: str, *, sessions: bool, everywhere: bool = False) -> None:
        self._directory = directory
        self._sessions = sessions and processes.LINUX
        self._everywhere = everywhere
        self._taken: dict[str, tuple[float, float]] = {}

    def look(self) -> Use:
        directories = server_directories() if self._everywhere else [self._directory]
        found = [*map(self._jupyter, directories), *([in_sessions()] if self._sessions else []), Use()]
        in_use = [use for use in found if use.what]
        return in_use[0] if in_use else Use(ago_s=min(use.ago_s for use in found))

    def _jupyter(self, directory: str) -> Use:
        running = server.load(directory)
        if running is None:
            return Use()
        works = self._works(directory, running.pid)
        if proof.check(running.place, running.token, timeout_s=5.0) != "ours":
            return Use("Jupyter does not answer, and works") if works else Use()
        status = proof.ask(running.place, running.token, "/api/remote-runtime", timeout_s=10.0)
        use = in_jupyter(status) if status else Use("Jupyter does not say what it does")
        # A kernel can call itself idle while a cell runs: a message on its control channel makes it.
        return use if use.what or not works else Use("a kernel's process works")

    def _works(self, directory: str, pid: int) -> bool:
        """Whether the kernels and what they started took more than a trifle of processor time since the last look."""
        now, taken = time.monotonic(), _processor_s(pid)
        before = self._taken.get(directory)
        self._taken[directory] = (now, taken)
        return before is not None and taken - before[1] > BUSY_SHARE * (now - before[0])


def in_jupyter(status: dict[str, Any]) -> Use:
    """``status``: the bridge's ``/api/remote-runtime``."""
    ago_s = math.inf
    for kernel in _dicts(status.get("kernels")):
        if kernel.get("state") == "busy":
            return Use("a kernel is busy")
        ago_s = min(ago_s, _ago_s(kernel.get("last_activity")))
    for terminal in _dicts(status.get("terminals")):
        if terminal.get("clients"):
            return Use("a Jupyter terminal is open")
        ago_s = min(ago_s, _ago_s(terminal.get("last_activity")))
    return Use(ago_s=ago_s)


def in_sessions() -> Use:
    """Of the processes of persons: what runs in a terminal besides its shell, or over SSH without one. A shell that
    waits counts from what was last typed. Of our own account only what shares our home is looked at."""
    table = {each.pid: each for each in everyone()}
    home, ago_s = os.path.expanduser("~"), math.inf
    for each in table.values():
        # What sudo runs in a person's terminal is root's, and at work for the person all the same.
        leader = table.get(each.session, each) if each.tty else each
        if each.pid == os.getpid() or not (_is_a_persons(each, home) or _is_a_persons(leader, home)):
            continue
        if each.tty and each.pid == each.session:
            ago_s = min(ago_s, _typed_ago_s(each.tty))
        elif each.tty:
            return Use(f"{each.name} runs in a terminal")
        elif runs_over_ssh(each, table):
            return Use(f"{each.name} runs over SSH")
    return Use(ago_s=ago_s)


def everyone() -> Iterator[Process]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as handle:
                    head, _, rest = handle.read().rpartition(")")
                fields = rest.split()
                if fields[0] not in "ZX":
                    uid = os.stat(f"/proc/{name}").st_uid
                    command = head.partition("(")[2]
                    yield Process(int(name), int(fields[1]), int(fields[3]), int(fields[4]), uid, command)


def _is_a_persons(each: Process, home: str) -> bool:
    if each.uid == processes.own_uid():
        return _environment(each.pid).get("HOME") == home
    return FIRST_PERSON <= each.uid != NOBODY


def runs_over_ssh(each: Process, table: dict[int, Process]) -> bool:
    """Below a live session: what was left behind by one that ended has the system's first process above it.

    The table was not read in one moment, and a pid may have been given anew meanwhile: who is above whom may go round.
    """
    for _ in table:
        if OURS in _command_line(each.pid):
            return False
        above = table.get(each.parent)
        if above is None or above.pid == 1 or above.name == "systemd":
            return False
        if each.uid != processes.own_uid():
            if above.name.startswith("sshd"):
                return not each.name.startswith("sshd")
        elif "SSH_CONNECTION" not in _environment(above.pid):
            return "SSH_CONNECTION" in _environment(each.pid)
        each = above
    return False


def _typed_ago_s(tty: int) -> float:
    """See proc(5) for the number, and ttyname(3); a terminal's access time is that of the last input."""
    major, minor = tty >> 8 & 0xFF, (tty & 0xFF) | (tty >> 12 & 0xFFF00)
    path = f"/dev/pts/{(major - 136) * 256 + minor}" if 136 <= major <= 143 else f"/dev/tty{minor}"
    try:
        return max(0.0, time.time() - os.stat(path).st_atime)
    except OSError:
        return math.inf


def _processor_s(pid: int) -> float:
    ticks = 0
    for member in set(processes.family(pid, "\0")) - {pid}:
        fields = processes.stat_of(member)
        ticks += int(fields[11]) + int(fields[12]) if len(fields) > 12 else 0
    return ticks / (os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100)


def _environment(pid: int) -> dict[str, str]:
    parts = [part.partition("=") for part in _read(f"/proc/{pid}/environ").split("\0")]
    return {name: value for name, _, value in parts}


def _command_line(pid: int) -> str:
    return _read(f"/proc/{pid}/cmdline")


def _read(path: str) -> str:
    try:
        with open(path, "rb") as handle:
            return handle.read(131072).decode("utf-8", "replace")
    except OSError:
        return ""


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _ago_s(moment: Any) -> float:
    """ISO 8601 as Jupyter writes it; ``fromisoformat`` knows no Z before Python 3.11."""
    try:
        at = datetime.datetime.fromisoformat(str(moment).replace("Z", "+00:00"))
    except ValueError:
        return math.inf
    at = at if at.tzinfo else at.replace(tzinfo=datetime.timezone.utc)
    return max(0.0, (datetime.datetime.now(datetime.timezone.utc) - at).total_seconds())
