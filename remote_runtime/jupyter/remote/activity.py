"""Whether somebody uses the machine: kernels, Jupyter's terminals, what runs in SSH sessions and other terminals, and
what computes in the background.

Looks at /proc, so all but kernels and Jupyter's terminals is seen on Linux only.
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

from . import idle_shells, processes, server, server_client
from .data_dir import WATCHDOG_PROGRAM, server_directories
from .resource_use import ResourceUse

# What our own launcher has on its command line: its sessions are no use of the machine.
LAUNCHER_MARK = "exec(sys.stdin.buffer.read(int("
MIN_USER_UID, NOBODY = 1000, 65534
# What looks after a person's processes, or carries their connections, is no work of theirs.
SERVICES = ("systemd", "(sd-pam)", "sshd", "sshd-session", "dropbear")


@dataclass(frozen=True)
class Activity:
    """``what`` is in use now, in words, empty for nothing; ``ago_s``: how long ago something was, where known."""

    what: str = ""
    ago_s: float = math.inf


@dataclass(frozen=True)
class ProcessStat:
    pid: int
    parent: int
    session: int
    tty: int
    uid: int
    name: str


class ActivityProbe:
    """Remembers between two looks what processor time was taken. ``sessions``: whether SSH sessions and terminals of
    the machine count too; ``everywhere``: so do all servers of ours and what computes in the background, for what ends
    the machine ends them."""

    def __init__(self, directory: str, *, sessions: bool, everywhere: bool = False) -> None:
        self._directory = directory
        self._sessions = sessions and processes.LINUX
        self._everywhere = everywhere
        self._resource_use = ResourceUse()

    def check(self) -> Activity:
        busy_pids = self._resource_use.busy_pids()
        directories = server_directories() if self._everywhere else [self._directory]
        activities = [_jupyter(directory, busy_pids) for directory in directories]
        if self._sessions:
            table = process_table()
            activities += [
                session_activity(table),
                background_activity(table, busy_pids) if self._everywhere else Activity(),
            ]
        in_use = [use for use in activities if use.what]
        if not in_use and self._sessions and self._everywhere and self._resource_use.is_gpu_busy():
            return Activity("a GPU computes")
        return in_use[0] if in_use else Activity(ago_s=min((use.ago_s for use in activities), default=math.inf))


def _jupyter(directory: str, busy_pids: set[int]) -> Activity:
    running = server.load(directory)
    if running is None:
        return Activity()
    is_working = is_kernel_working(running.pid, busy_pids)
    if server_client.check_identity(running.address, running.token, timeout_s=5.0) != "ours":
        return Activity("Jupyter does not answer, and works") if is_working else Activity()
    status = server_client.get_json(running.address, running.token, "/api/remote-runtime", timeout_s=10.0)
    activity = jupyter_activity(status) if status else Activity("Jupyter does not say what it does")
    # A kernel can call itself idle while a cell runs: a message on its control channel makes it.
    return activity if activity.what or not is_working else Activity("a kernel's process works")


def is_kernel_working(server_pid: int, busy_pids: set[int]) -> bool:
    """Whether a kernel works, or what one started: also what its parent has left, which keeps the environment that
    jupyter_client gives its kernels."""
    below = processes.process_tree(server_pid, "\0") if busy_pids else {}
    server_pid_text = str(server_pid)
    return any(
        pid in below or _environment(pid).get("JPY_PARENT_PID") == server_pid_text for pid in busy_pids - {server_pid}
    )


def jupyter_activity(status: dict[str, Any]) -> Activity:
    """``status``: the bridge's ``/api/remote-runtime``."""
    ago_s = math.inf
    for kernel in _dicts(status.get("kernels")):
        if kernel.get("state") == "busy":
            return Activity("a kernel is busy")
        ago_s = min(ago_s, _ago_s(kernel.get("last_activity")))
    for terminal in _dicts(status.get("terminals")):
        if terminal.get("clients"):
            return Activity("a Jupyter terminal is open")
        ago_s = min(ago_s, _ago_s(terminal.get("last_activity")))
    return Activity(ago_s=ago_s)


def session_activity(table: dict[int, ProcessStat]) -> Activity:
    """Of the processes of persons: what runs in a terminal, or over SSH without one. A shell that waits in a terminal
    counts from what was last typed. Of our own account only what shares our home is looked at."""
    home, ago_s = os.path.expanduser("~"), math.inf
    parents = {each.parent for each in table.values()}
    for each in table.values():
        if each.pid == os.getpid() or not _is_for_user(each, table, home):
            continue
        if not (each.tty or runs_over_ssh(each, table)):
            continue
        words = _command_line(each.pid).split("\0")
        if not idle_shells.is_waiting(each.name, words, has_children=each.pid in parents):
            return Activity(f"{each.name} runs {'in a terminal' if each.tty else 'over SSH'}")
        if each.tty:
            ago_s = min(ago_s, _last_input_ago_s(each.tty))
    return Activity(ago_s=ago_s)


def background_activity(table: dict[int, ProcessStat], busy_pids: set[int]) -> Activity:
    """Of the processes that work: those of persons, wherever they were started, and those in containers. Not what we
    do there ourselves: our servers, what looks after the machine, what carries the connection."""
    home = os.path.expanduser("~")
    ours = {running.pid for running in map(server.load, server_directories()) if running}
    for pid in sorted(busy_pids - ours - {os.getpid()}):
        each = table.get(pid)
        if each is None or each.name.startswith(SERVICES) or _is_ours(each, table):
            continue
        if _is_for_user(each, table, home):
            return Activity(f"{each.name} works")
        if _in_a_container(pid):
            return Activity(f"{each.name} works in a container")
    return Activity()


def process_table() -> dict[int, ProcessStat]:
    """By pid."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as handle:
                    head, _, rest = handle.read().rpartition(")")
                fields = rest.split()
                if fields[0] not in "ZX":
                    uid, command = os.stat(f"/proc/{name}").st_uid, head.partition("(")[2]
                    found[int(name)] = ProcessStat(
                        int(name), int(fields[1]), int(fields[3]), int(fields[4]), uid, command
                    )
    return found


def _is_for_user(each: ProcessStat, table: dict[int, ProcessStat], home: str) -> bool:
    """It is a person's, or stands below one that is: what sudo runs is root's, and at work for the person."""
    return any(_belongs_to_user(one, home) for one in _ancestors(each, table))


def _belongs_to_user(each: ProcessStat, home: str) -> bool:
    if each.uid == processes.own_uid():
        its = _environment(each.pid).get("HOME")
        return its == home or (its is None and each.uid >= MIN_USER_UID)  # it may have written over its environment
    return MIN_USER_UID <= each.uid != NOBODY


def _is_ours(each: ProcessStat, table: dict[int, ProcessStat]) -> bool:
    """What our launcher, or another watchdog of ours, does."""
    marks = [LAUNCHER_MARK, *(os.path.join(directory, WATCHDOG_PROGRAM) for directory in server_directories())]
    return any(mark in _command_line(one.pid) for one in _ancestors(each, table) for mark in marks)


def _ancestors(each: ProcessStat, table: dict[int, ProcessStat]) -> Iterator[ProcessStat]:
    """It and all above it but the first process. The table was not read in one moment, and a pid may have been given
    anew meanwhile: who is above whom may go round."""
    for _ in table:
        yield each
        above = table.get(each.parent)
        if above is None or above.pid == 1:
            return
        each = above


def _in_a_container(pid: int) -> bool:
    """It has a pid of its own in a namespace within ours (proc(5))."""
    status = _read(f"/proc/{pid}/status")
    return any(len(line.split()) > 2 for line in status.splitlines() if line.startswith("NSpid:"))


def runs_over_ssh(each: ProcessStat, table: dict[int, ProcessStat]) -> bool:
    """Below a live session: what was left behind by one that ended has the system's first process above it."""
    for one in _ancestors(each, table):
        above = table.get(one.parent)
        if above is None or above.pid == 1 or above.name == "systemd" or LAUNCHER_MARK in _command_line(one.pid):
            return False
        if one.uid != processes.own_uid():
            if above.name.startswith("sshd"):
                return not one.name.startswith("sshd")
        elif "SSH_CONNECTION" not in _environment(above.pid):
            return "SSH_CONNECTION" in _environment(one.pid)
    return False


def _last_input_ago_s(tty: int) -> float:
    """See proc(5) for the number, and ttyname(3); a terminal's access time is that of the last input."""
    major, minor = tty >> 8 & 0xFF, (tty & 0xFF) | (tty >> 12 & 0xFFF00)
    path = f"/dev/pts/{(major - 136) * 256 + minor}" if 136 <= major <= 143 else f"/dev/tty{minor}"
    try:
        return max(0.0, time.time() - os.stat(path).st_atime)
    except OSError:
        return math.inf


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
