"""The processes of the demo machine, found by a marker in their environment. The only module that imports psutil."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil

MARKER = "REMOTE_RUNTIME_DEMO_MACHINE"
GRACE_S = 2.0
_MAX_WAIT_S = 10.0
_POLL_S = 0.02


def terminate_all(machine_id: str) -> None:
    """Terminates all of them, detached ones too, and kills them after ``GRACE_S``. Gives up after ten seconds.

    psutil's own waiting would take the exit status of child processes from asyncio.
    """
    deadline = time.monotonic() + _MAX_WAIT_S
    asked: set[psutil.Process] = set()
    grace_ends = time.monotonic() + GRACE_S
    while time.monotonic() < deadline:
        living = list(_find_all(machine_id))
        if not living:
            return
        for process in living:
            if time.monotonic() >= grace_ends:
                _signal(process, "kill")
            elif process not in asked:
                asked.add(process)
                _signal(process, "terminate")
                _signal(process, "resume")
        time.sleep(_POLL_S)


def suspend_all(machine_id: str) -> None:
    """Stops all of them where they are. Signals take a moment, in which more can start. Gives up after ten seconds."""
    deadline = time.monotonic() + _MAX_WAIT_S
    while going := [found for found in _find_all(machine_id) if not _has_status(found, psutil.STATUS_STOPPED)]:
        for process in going:
            _signal(process, "suspend")
        if time.monotonic() > deadline:
            return
        time.sleep(_POLL_S)


def resume_all(machine_id: str) -> None:
    for process in _find_all(machine_id):
        _signal(process, "resume")


def _find_all(machine_id: str) -> Iterator[psutil.Process]:
    """Living processes with the marker, and their descendants, which may have cleared their environment."""
    seen: set[psutil.Process] = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) != machine_id:
                continue
            family = [process, *process.children(recursive=True)]
        except (psutil.Error, OSError):
            continue
        for member in family:
            if member not in seen and not _has_status(member, psutil.STATUS_ZOMBIE):
                seen.add(member)
                yield member


def _has_status(process: psutil.Process, status: str) -> bool:
    """True for a process that is gone, too."""
    try:
        return bool(not process.is_running() or process.status() == status)
    except psutil.Error:
        return True


def _signal(process: psutil.Process, verb: str) -> None:
    """Through psutil, which checks that the pid still means the same process."""
    try:
        getattr(process, verb)()
    except (psutil.Error, OSError):
        return
