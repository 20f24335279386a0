"""Processor time and disk space of the machine."""

from __future__ import annotations

import os
import shutil
from typing import Any, Dict, List, Optional, Tuple

_MIN_INTERVAL_S = 0.2  # of processor time, all processors together: shorter ones say nothing
_TICKS_PER_S = 100.0  # USER_HZ of /proc/stat, see proc(5)


class CpuMeter:
    """Measures between two readings, so that a reading costs no time."""

    def __init__(self) -> None:
        self._before: Optional[Tuple[float, float]] = None
        self._share: Optional[float] = None

    def read(self) -> Optional[float]:
        """The share of processor time used since the last reading, 0 to 1; None at the first one, and where the system
        does not report it."""
        now = _processor_times()
        if now is None or self._before is None:
            self._before = now
        elif now[1] - self._before[1] >= _MIN_INTERVAL_S:
            self._share = min(1.0, max(0.0, (now[0] - self._before[0]) / (now[1] - self._before[1])))
            self._before = now
        return self._share


def fullest_disk() -> Optional[Dict[str, Any]]:
    """The fuller one of the file systems of ``/`` and of the home directory, as ``df`` counts: without the blocks that
    are reserved for root."""
    found: List[Dict[str, Any]] = []
    for path in ("/", os.path.expanduser("~")):
        try:
            usage = shutil.disk_usage(path)
        except OSError:
            continue
        if usage.used + usage.free > 0:
            found.append({"path": path, "usedBytes": usage.used, "totalBytes": usage.used + usage.free})
    return max(found, key=lambda disk: disk["usedBytes"] / disk["totalBytes"], default=None)


def _processor_times() -> Optional[Tuple[float, float]]:
    """Seconds of all processors since the start: used, and in total."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(field) for field in file.readline().split()[1:9]]
        return (sum(ticks) - sum(ticks[3:5])) / _TICKS_PER_S, sum(ticks) / _TICKS_PER_S
    except (OSError, ValueError):
        pass  # not Linux
    try:
        import psutil
    except ImportError:
        return None
    times = psutil.cpu_times()
    total = float(sum(times))
    return total - float(times.idle), total
