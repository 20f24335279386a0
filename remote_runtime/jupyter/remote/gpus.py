"""The NVIDIA GPUs of this machine and their driver, by nvidia-smi; or why it does not list them."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ...launcher.remote.reply import ReplyWriter
from . import processes

TIMEOUT_S = 5.0
MIB = 1024 * 1024
MAX_GPUS = 64
QUERY = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
# Container images and Container-Optimized OS have nvidia-smi outside the usual PATH.
SEARCH_DIRS = ("/usr/bin", "/usr/local/nvidia/bin", "/opt/bin", "/var/lib/nvidia/bin")
PCI_DEVICES = "/sys/bus/pci/devices"
# On a Deep Learning VM that was created without a driver.
DRIVER_SCRIPT = "/opt/deeplearning/install-driver.sh"
NO_DRIVER = "The machine has an NVIDIA device but no nvidia-smi, so no driver is installed"
# Processes that install a driver: NVIDIA's installer, Google's scripts for Compute Engine and Deep Learning VMs, apt.
INSTALLERS = re.compile(
    r"nvidia-installer|NVIDIA-Linux-\S+\.run|install[-_]driver|install[-_](?:gpu|nvidia)|cuda_installer|cos-gpu-installer"
    r"|(?:apt|apt-get|dpkg|dkms)\b.*\bnvidia"
)


class GpuResult(NamedTuple):
    """``gpus``: each with ``name``, ``memory_bytes`` and ``driver``. ``problem``: a note for people if there should
    be GPUs and none was found."""

    gpus: list[dict[str, Any]]
    problem: str = ""


class GpuProbe:
    """Runs nvidia-smi in the background, as it can take seconds. The ``with`` block ends it."""

    def __init__(
        self, within_s: float = TIMEOUT_S, folders: Sequence[str] = SEARCH_DIRS, query: Sequence[str] = QUERY
    ) -> None:
        program = shutil.which("nvidia-smi", path=os.pathsep.join([os.environ.get("PATH", os.defpath), *folders]))
        self._process = processes.BackgroundProcess([program, *query]) if program else None
        self._within_s = within_s
        self._until = time.monotonic() + within_s

    def __enter__(self) -> GpuProbe:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.__exit__()

    def is_running(self) -> bool:
        return self._process is not None and self._process.is_running()

    def wait(self, sleep: Callable[[float], None]) -> tuple[int | None, str]:
        """Its exit status and output. The status is None if it has not ended ``within_s`` after its start."""
        return self._process.wait(sleep, self._until) if self._process is not None else (None, "")

    def result(self, reply: ReplyWriter) -> GpuResult:
        if self._process is None:
            return GpuResult([], problem_note(NO_DRIVER) if has_nvidia_device() else "")
        if self._process.start_error:
            return GpuResult([], problem_note("nvidia-smi can't be started: " + self._process.start_error))
        status, output = self.wait(reply.sleep)
        if status is None:
            return GpuResult([], problem_note(f"nvidia-smi timed out after {self._within_s:.0f} s"))
        gpus = parse_gpus(output) if status == 0 else []
        return GpuResult(gpus) if gpus else GpuResult([], problem_note("nvidia-smi: " + first_line(output)))


def parse_gpus(output: str) -> list[dict[str, Any]]:
    """nvidia-smi's CSV without header and units: memory in MiB, ``[N/A]`` if the GPU shares the machine's memory."""
    gpus = []
    for line in output.splitlines()[:MAX_GPUS]:
        fields = [field.strip() for field in line.rsplit(",", 2)]
        if len(fields) == 3:
            mib = int(fields[1]) if fields[1].isdigit() else 0
            gpus.append({"name": fields[0], "memory_bytes": mib * MIB, "driver": fields[2]})
    return gpus


def has_nvidia_device(devices: str = PCI_DEVICES) -> bool:
    """Whether the PCI bus has a display or 3D controller of NVIDIA (vendor 10de, classes 0300 and 0302)."""
    paths = [os.path.join(devices, name) for name in (os.listdir(devices) if os.path.isdir(devices) else [])]
    return any(
        processes.read_text(os.path.join(path, "vendor")).strip() == "0x10de"
        and processes.read_text(os.path.join(path, "class")).startswith("0x03")
        for path in paths
    )


def problem_note(why: str) -> str:
    return explain(why, [process.command for process in processes.list_processes()])


def explain(why: str, commands: Sequence[str]) -> str:
    """``why`` as a note, or that one of the running ``commands`` is installing the driver."""
    if any(INSTALLERS.search(command) for command in commands):
        return "The GPU is not ready: its driver is being installed, as on a first boot, which takes minutes"
    hint = f"; on the machine: sudo {DRIVER_SCRIPT}" if os.path.exists(DRIVER_SCRIPT) else ""
    return "The GPU does not work: " + why + hint


def first_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[0][:200] if lines else "it failed without output"
