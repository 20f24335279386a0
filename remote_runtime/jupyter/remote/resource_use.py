"""Which processes and GPUs of the machine compute: processor time between two checks (Linux only), and GPU load."""

from __future__ import annotations

import os
import sys
import time

from . import processes
from .gpus import GpuProbe

# Of one core, or of a GPU's time. Idle kernels and servers without requests take less.
BUSY_SHARE = 0.05
GPU_QUERY = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]


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
