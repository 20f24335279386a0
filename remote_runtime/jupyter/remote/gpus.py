"""The NVIDIA GPUs of this machine and their driver, as nvidia-smi tells them; or why it cannot."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from . import processes
from .reply import ReplyWriter

if TYPE_CHECKING:
    import subprocess

TIMEOUT_S, KILL_WAIT_S = 5.0, 1.0
MIB = 1024 * 1024
MAX_GPUS = 64
QUERY = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
# Container images and Container-Optimized OS have it outside the usual PATH.
SEARCH_DIRS = ("/usr/bin", "/usr/local/nvidia/bin", "/opt/bin", "/var/lib/nvidia/bin")
PCI_DEVICES = "/sys/bus/pci/devices"
# What a Deep Learning VM has for a driver that was not asked for when it was made.
DRIVER_SCRIPT = "/opt/deeplearning/install-driver.sh"
NO_DRIVER = "the machine has an NVIDIA device and no nvidia-smi, so no driver is installed"
# What installs a driver: NVIDIA's own installer, Google's scripts for Compute Engine and its Deep Learning VMs, apt.
INSTALLERS = re.compile(
    r"nvidia-installer|NVIDIA-Linux-\S+\.run|install[-_]driver|install[-_](?:gpu|nvidia)|cuda_installer|cos-gpu-installer"
    r"|(?:apt|apt-get|dpkg|dkms)\b.*\bnvidia"
)


class GpuResult(NamedTuple):
    """``gpus``: each with ``name``, ``memory_bytes`` and ``driver``. ``trouble``: why there are none although there
    should be, for a person."""

    gpus: list[dict[str, Any]]
    problem: str = ""


class GpuProbe:
    """nvidia-smi at work: it can take seconds, in which other things are done. Used once; ended with its block."""

    def __init__(self, within_s: float = TIMEOUT_S, folders: Sequence[str] = SEARCH_DIRS) -> None:
        search = os.pathsep.join([os.environ.get("PATH", os.defpath), *folders])
        self._program = shutil.which("nvidia-smi", path=search)
        self._within_s = within_s
        self._until = time.monotonic() + within_s
        self._process: subprocess.Popen[bytes] | None = None
        self._start_error = ""
        if self._program:
            import subprocess

            try:
                self._process = subprocess.Popen(
                    [self._program, *QUERY], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
                )
            except OSError as exc:
                self._start_error = str(exc.strerror)

    def __enter__(self) -> GpuProbe:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        import subprocess

        self._process.kill()
        if self._process.stdout:
            self._process.stdout.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # the kernel may hold it for good: a GPU that fell off
            self._process.wait(KILL_WAIT_S)

    def result(self, reply: ReplyWriter) -> GpuResult:
        """Waits for its end, ``within_s`` after its start at most."""
        if not self._program:
            return GpuResult([], problem_note(NO_DRIVER) if has_nvidia_device() else "")
        if self._process is None:
            return GpuResult([], problem_note("nvidia-smi cannot be started: " + self._start_error))
        process = self._process
        while process.poll() is None and time.monotonic() < self._until:
            reply.sleep(0.02)
        if process.poll() is None:
            return GpuResult([], problem_note(f"nvidia-smi did not answer in {self._within_s:.0f} s"))
        # What it says fits into a pipe: one that said more was not nvidia-smi, and did not end.
        output = process.stdout.read(65536).decode("utf-8", "replace") if process.stdout else ""
        gpus = parse_gpus(output) if process.returncode == 0 else []
        return GpuResult(gpus) if gpus else GpuResult([], problem_note("nvidia-smi: " + first_line(output)))


def parse_gpus(output: str) -> list[dict[str, Any]]:
    """nvidia-smi's csv without header and units: memory in MiB, ``[N/A]`` where a GPU shares the machine's."""
    gpus = []
    for line in output.splitlines()[:MAX_GPUS]:
        fields = [field.strip() for field in line.rsplit(",", 2)]
        if len(fields) == 3:
            mib = int(fields[1]) if fields[1].isdigit() else 0
            gpus.append({"name": fields[0], "memory_bytes": mib * MIB, "driver": fields[2]})
    return gpus


def has_nvidia_device(devices: str = PCI_DEVICES) -> bool:
    """Whether the PCI bus has a display or 3D controller of NVIDIA (vendor 10de, classes 0300 and 0302)."""
    for name in os.listdir(devices) if os.path.isdir(devices) else []:
        if _read_attribute(devices, name, "vendor") == "0x10de" and _read_attribute(devices, name, "class").startswith(
            "0x03"
        ):
            return True
    return False


def problem_note(why: str) -> str:
    return explain(why, [process.command for process in processes.list_processes()])


def explain(why: str, commands: Sequence[str]) -> str:
    """``why`` as a note; a driver that one of ``commands`` installs at this moment explains all of it."""
    if any(INSTALLERS.search(command) for command in commands):
        return "No GPU can be used yet: its driver is being installed, as on a first boot, which takes minutes"
    hint = f"; on the machine: sudo {DRIVER_SCRIPT}" if os.path.exists(DRIVER_SCRIPT) else ""
    return "No GPU can be used: " + why + hint


def first_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[0][:200] if lines else "it failed and said nothing"


def _read_attribute(devices: str, name: str, attribute: str) -> str:
    try:
        with open(os.path.join(devices, name, attribute), encoding="ascii") as handle:
            return handle.read().strip()
    except (OSError, ValueError):
        return ""
