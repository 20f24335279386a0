"""What processes cost at rest: how often they are woken, processor time, memory. Linux only, by proc(5)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SAMPLE_S = 1.0


@dataclass
class _ThreadUse:
    switches: int = 0
    involuntary: int = 0
    cpu_ns: int = 0


@dataclass(frozen=True)
class Usage:
    """``switches``: context switches of all threads; ``by_thread``: of each, by its name. ``involuntary``: those in
    which other programs took the processor.
    ``rss_mb``: memory in use, with pages that other processes use too; ``pss_mb``: with its share of them."""

    switches: int
    involuntary: int
    cpu_s: float
    rss_mb: float
    pss_mb: float
    by_thread: Mapping[str, int]


@dataclass
class UsageMeter:
    """Counts what a process uses from the first ``sample`` on. A thread counts until it was last seen: one that ends
    between two samples is not counted."""

    pid: int
    _first: dict[int, _ThreadUse] = field(default_factory=dict)
    _last: dict[int, _ThreadUse] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)
    _is_started: bool = False

    def sample(self) -> None:
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                tid, use = int(task.name), _read(task)
                self._names[tid] = (task / "comm").read_text().strip()
                self._first.setdefault(tid, _ThreadUse() if self._is_started else use)
                self._last[tid] = use
        self._is_started = True

    def usage(self) -> Usage:
        switches = {tid: use.switches - self._first[tid].switches for tid, use in self._last.items()}
        involuntary = sum(use.involuntary - self._first[tid].involuntary for tid, use in self._last.items())
        cpu_ns = sum(use.cpu_ns - self._first[tid].cpu_ns for tid, use in self._last.items())
        memory = _memory_mb(self.pid)
        by_thread = {f"{self._names[tid]} {tid}": count for tid, count in switches.items() if count}
        return Usage(sum(switches.values()), involuntary, cpu_ns / 1e9, memory["Rss"], memory["Pss"], by_thread)


def measure(pids: Mapping[str, int], for_s: float) -> dict[str, Usage]:
    """By the names of ``pids``, over the next ``for_s``."""
    meters = {name: UsageMeter(pid) for name, pid in pids.items()}
    until = time.monotonic() + for_s
    while True:
        for meter in meters.values():
            meter.sample()
        left_s = until - time.monotonic()
        if left_s <= 0:
            return {name: meter.usage() for name, meter in meters.items()}
        time.sleep(min(SAMPLE_S, left_s))


def _read(task: Path) -> _ThreadUse:
    lines = (task / "status").read_text().splitlines()
    voluntary, involuntary = (int(line.split()[1]) for line in lines if "voluntary_ctxt_switches" in line)
    return _ThreadUse(voluntary + involuntary, involuntary, int((task / "schedstat").read_text().split()[0]))


def _memory_mb(pid: int) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.partition(":")[0]: int(line.split()[1]) / 1024 for line in lines}
