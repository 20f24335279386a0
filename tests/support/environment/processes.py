"""Processes that belong to a test, found by what their command line or environment names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil


def commands_of(mark: Path | str) -> dict[int, str]:
    """Those that run with ``mark`` (a home, a token) in their command line or environment: pid → command line."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            command = " ".join(process.cmdline())
            if str(mark) in command or any(str(mark) in value for value in process.environ().values()):
                found[process.pid] = command
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it ended while it was looked at
    return found


def has_ended(process: psutil.Process) -> bool:
    """Whether it runs no more, waited for by its parent or not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def end_processes_of(folder: Path) -> None:
    """And removes what the servers among them had outside of it."""
    for note in folder.rglob("servers/*/runtime-folder"):
        shutil.rmtree(note.read_text(), ignore_errors=True)
    left = []
    for pid in commands_of(folder):
        try:
            process = psutil.Process(pid)
            process.kill()
        except psutil.NoSuchProcess:
            continue
        left.append(process)
    psutil.wait_procs(left, 5)
