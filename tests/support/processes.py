"""Processes that belong to a folder of a test: a person's home, or the home on a machine."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def processes_of(folder: Path) -> list[psutil.Process]:
    """All that run with ``folder`` in their environment or command line, detached ones included."""
    return [process for process in psutil.process_iter() if _names(process, str(folder))]


def end_processes_of(folder: Path) -> None:
    left = processes_of(folder)
    for process in left:
        process.kill()
    psutil.wait_procs(left, 5)


def _names(process: psutil.Process, mark: str) -> bool:
    try:
        if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return any(mark in part for part in [*process.environ().values(), *process.cmdline()])
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
