"""What works on the machine: the processor time that processes take between two looks, and the GPUs' load. Linux only,
as far as it is read from /proc."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TYPE_CHECKING

from . import gpus, processes

if TYPE_CHECKING:
    import subprocess

# Of one core, or of a GPU's time. What waits takes less: an idle kernel, a server without requests.
BUSY_SHARE = 0.05
GPU_QUERY = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
GPU_TIMEOUT_S = 5.0
MAX_OUTPUT_BYTES = 65536


class ResourceUse:
    """Remembers what each process had taken at the last look."""

    def __init__(self) -> None:
        self._checked_at = 0.0
        self._cpu_ticks: dict[str, int] = {}
        self._nvidia_smi: subprocess.Popen[bytes] | None = None

    def busy_pids(self) -> set[int]:
        """The pids of those that took more than a trifle of processor time since the last look, with the time of their
        children that have ended since. None at the first look."""
        if sys.platform == "win32":
            return set()
        now, before = time.monotonic(), self._cpu_ticks
        between_s, self._checked_at = now - self._checked_at, now
        found, self._cpu_ticks = set(), {}
        for name in os.listdir("/proc") if processes.LINUX else []:
            fields = processes.read_stat(int(name)) if name.isdigit() else []
            if len(fields) > 19 and fields[0] not in "ZX":
                # proc(5): utime, stime, cutime, cstime; a pid with its start time is one process.
                process_id, ticks = f"{name}/{fields[19]}", sum(map(int, fields[11:15]))
                self._cpu_ticks[process_id] = ticks
                if (ticks - before.get(process_id, 0)) / os.sysconf("SC_CLK_TCK") > BUSY_SHARE * between_s:
                    found.add(int(name))
        return found if before else set()

    def is_gpu_busy(self) -> bool:
        """Whether a GPU computes now, as nvidia-smi tells. One that does not tell counts as still."""
        if self._nvidia_smi is not None and self._nvidia_smi.poll() is None:
            return False  # the kernel holds the last one for good: a GPU that fell off
        import subprocess

        search = os.pathsep.join([os.environ.get("PATH", os.defpath), *gpus.SEARCH_DIRS])
        program = shutil.which("nvidia-smi", path=search)
        if program is None:
            return False
        try:
            self._nvidia_smi = subprocess.Popen(
                [program, *GPU_QUERY], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError:
            return False
        until = time.monotonic() + GPU_TIMEOUT_S
        while self._nvidia_smi.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        self._nvidia_smi.kill()
        output = b""
        if self._nvidia_smi.stdout is not None:
            with self._nvidia_smi.stdout:
                output = self._nvidia_smi.stdout.read(MAX_OUTPUT_BYTES) if self._nvidia_smi.poll() == 0 else b""
        loads = [line.strip() for line in output.decode("utf-8", "replace").splitlines()]
        return any(load.isdigit() and int(load) > 100 * BUSY_SHARE for load in loads)
