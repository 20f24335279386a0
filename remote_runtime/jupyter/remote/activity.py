"""Whether the machine is in use: kernels, Jupyter's terminals, SSH sessions, other terminals, background computation.

Only kernels and Jupyter's terminals are seen on other systems than Linux: all else is read from /proc.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from . import idle_shells, processes, server, server_client
from .data_dir import WATCHDOG_PROGRAM, server_directories
from .gpus import GpuProbe

# In the command line of the launcher, whose sessions do not count as use.
LAUNCHER_MARK = "exec(sys.stdin.buffer.read(int("
MIN_USER_UID, NOBODY = 1000, 65534
# Processes that manage a user's session or connection do not count as use.
SERVICES = ("systemd", "(sd-pam)", "sshd", "sshd-session", "dropbear")
# Of one core, or of a GPU's time. Idle kernels and servers without requests take less.
BUSY_SHARE = 0.05
GPU_QUERY = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]


@dataclass(frozen=True)
class Activity:
    """``what`` is in use now, for people; empty if nothing is. ``ago_s``: how long ago the last use was, if known."""

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
    """Remembers processor times between two checks. ``sessions``: SSH sessions and terminals of the machine count too.
    ``everywhere``: all remote-runtime servers and background computation count, because stopping the machine ends
    them."""

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
        return Activity("Jupyter does not respond, and uses the processor") if is_working else Activity()
    status = server_client.get_json(running.address, running.token, "/api/remote-runtime", timeout_s=10.0)
    activity = jupyter_activity(status) if status else Activity("Jupyter does not report its activity")
    # A kernel reports idle while a cell runs if it got a message on its control channel.
    return activity if activity.what or not is_working else Activity("a kernel's process uses the processor")


def is_kernel_working(server_pid: int, busy_pids: set[int]) -> bool:
    """Whether a kernel, or a process that it started, is busy. A process whose parent has ended is recognised by the
    environment that jupyter_client gives to kernels."""
    below = processes.process_tree(server_pid, "\0") if busy_pids else {}
    return any(
        pid in below or processes.read_environment(pid).get("JPY_PARENT_PID") == str(server_pid)
        for pid in busy_pids - {server_pid}
    )


def jupyter_activity(status: dict[str, Any]) -> Activity:
    """``status``: the bridge's reply at ``/api/remote-runtime``."""
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
    """Users' processes in a terminal, or over SSH without one. A shell that waits in a terminal counts from its last
    input. Of this account only processes with this HOME count."""
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
    """Busy processes of users and of containers. remote-runtime's servers, session managers and SSH servers do not
    count."""
    home = os.path.expanduser("~")
    ours = {running.pid for running in map(server.load, server_directories()) if running}
    for pid in sorted(busy_pids - ours - {os.getpid()}):
        each = table.get(pid)
        if each is not None and not each.name.startswith(SERVICES) and not _is_ours(each, table):
            if _is_for_user(each, table, home):
                return Activity(f"{each.name} works")
            if _in_a_container(pid):
                return Activity(f"{each.name} works in a container")
    return Activity()


def process_table() -> dict[int, ProcessStat]:
    """By pid. Source: proc(5)."""
    found = {}
    for pid in processes.list_pids():
        with contextlib.suppress(OSError, IndexError, ValueError):
            head, _, rest = processes.read_text(f"/proc/{pid}/stat").rpartition(")")
            fields = rest.split()
            if fields[0] not in "ZX":
                parent, session, tty = int(fields[1]), int(fields[3]), int(fields[4])
                uid, name = os.stat(f"/proc/{pid}").st_uid, head.partition("(")[2]
                found[pid] = ProcessStat(pid, parent, session, tty, uid, name)
    return found


def _is_for_user(each: ProcessStat, table: dict[int, ProcessStat], home: str) -> bool:
    """It or one of its ancestors belongs to a user: a process that sudo started is root's, and works for the user."""
    return any(_belongs_to_user(one, home) for one in _ancestors(each, table))


def _belongs_to_user(each: ProcessStat, home: str) -> bool:
    if each.uid == processes.own_uid():
        process_home = processes.read_environment(each.pid).get("HOME")
        # A process may overwrite its environment.
        return process_home == home or (process_home is None and each.uid >= MIN_USER_UID)
    return MIN_USER_UID <= each.uid != NOBODY


def _is_ours(each: ProcessStat, table: dict[int, ProcessStat]) -> bool:
    """It or one of its ancestors is a launcher or an idle watchdog."""
    marks = [LAUNCHER_MARK, *(os.path.join(directory, WATCHDOG_PROGRAM) for directory in server_directories())]
    return any(mark in _command_line(one.pid) for one in _ancestors(each, table) for mark in marks)


def _ancestors(each: ProcessStat, table: dict[int, ProcessStat]) -> Iterator[ProcessStat]:
    """The process and its ancestors except pid 1. Bounded: pids can be reused while the table is read, so its parents
    may form a loop."""
    for _ in table:
        yield each
        above = table.get(each.parent)
        if above is None or above.pid == 1:
            return
        each = above


def _in_a_container(pid: int) -> bool:
    """Whether it has a pid in a nested namespace (proc(5))."""
    return any(
        len(line.split()) > 2
        for line in processes.read_text(f"/proc/{pid}/status").splitlines()
        if line.startswith("NSpid:")
    )


def runs_over_ssh(each: ProcessStat, table: dict[int, ProcessStat]) -> bool:
    """Whether it belongs to an SSH session that is open: a process of an ended session has pid 1 as its parent."""
    for one in _ancestors(each, table):
        above = table.get(one.parent)
        if above is None or above.pid == 1 or above.name == "systemd" or LAUNCHER_MARK in _command_line(one.pid):
            return False
        if one.uid != processes.own_uid():
            if above.name.startswith("sshd"):
                return not one.name.startswith("sshd")
        elif "SSH_CONNECTION" not in processes.read_environment(above.pid):
            return "SSH_CONNECTION" in processes.read_environment(one.pid)
    return False


def _last_input_ago_s(tty: int) -> float:
    """``tty``: the device number of proc(5); see ttyname(3). A terminal's access time is that of its last input."""
    major, minor = tty >> 8 & 0xFF, (tty & 0xFF) | (tty >> 12 & 0xFFF00)
    path = f"/dev/pts/{(major - 136) * 256 + minor}" if 136 <= major <= 143 else f"/dev/tty{minor}"
    try:
        return max(0.0, time.time() - os.stat(path).st_atime)
    except OSError:
        return math.inf


def _command_line(pid: int) -> str:
    return processes.read_text(f"/proc/{pid}/cmdline")


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _ago_s(moment: Any) -> float:
    """``moment``: ISO 8601 as Jupyter writes it; ``fromisoformat`` knows no Z before Python 3.11."""
    try:
        at = datetime.datetime.fromisoformat(str(moment).replace("Z", "+00:00"))
    except ValueError:
        return math.inf
    at = at if at.tzinfo else at.replace(tzinfo=datetime.timezone.utc)
    return max(0.0, (datetime.datetime.now(datetime.timezone.utc) - at).total_seconds())


class ResourceUse:
    """Remembers each process's processor time at the last check."""

    def __init__(self) -> None:
        self._checked_at = 0.0
        self._cpu_ticks: dict[str, int] = {}
        self._gpu_probe: GpuProbe | None = None

    def busy_pids(self) -> set[int]:
        """The processes that used more than ``BUSY_SHARE`` of a core since the last check, with their children that
        ended since. None at the first check."""
        if sys.platform == "win32" or not processes.LINUX:
            return set()
        now, before = time.monotonic(), self._cpu_ticks
        between_s, self._checked_at = now - self._checked_at, now
        found, self._cpu_ticks = set(), {}
        for pid in processes.list_pids():
            fields = processes.read_stat(pid)
            if len(fields) > 19 and fields[0] not in "ZX":
                # proc(5): utime, stime, cutime, cstime; a pid with its start time is one process.
                process_id, ticks = f"{pid}/{fields[19]}", sum(map(int, fields[11:15]))
                self._cpu_ticks[process_id] = ticks
                if (ticks - before.get(process_id, 0)) / os.sysconf("SC_CLK_TCK") > BUSY_SHARE * between_s:
                    found.add(pid)
        return found if before else set()

    def is_gpu_busy(self) -> bool:
        """Whether a GPU computes now, by nvidia-smi; False if that fails."""
        if self._gpu_probe is not None and self._gpu_probe.is_running():
            return False  # a lost GPU blocks the last nvidia-smi in the kernel
        with GpuProbe(query=GPU_QUERY) as self._gpu_probe:
            status, output = self._gpu_probe.wait(time.sleep)
        loads = [line.strip() for line in output.splitlines()]
        return status == 0 and any(load.isdigit() and int(load) > 100 * BUSY_SHARE for load in loads)
