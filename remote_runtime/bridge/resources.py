"""Memory, disks and GPUs of the machine, in the format of Colab's resource monitor, and what `status` shows of it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import threading
import time
from typing import Any, Dict, List, Optional, Set

from .system_load import CpuMeter, fullest_disk

_GPU_QUERY = "name,memory.used,memory.total,utilization.gpu,utilization.memory,temperature.gpu"
_GPU_TIMEOUT_S = 5.0
_EXIT_TIMEOUT_S = 1.0
_CACHE_S = 3.0
_MIB = 1024 * 1024
_MAX_GPU_OUTPUT_BYTES = 64 * 1024


class ResourceMonitor:
    """Reads on demand; what may be slow (nvidia-smi, a network file system) is read in a thread, and cached for
    ``_CACHE_S``."""

    def __init__(self) -> None:
        self._gpus: List[Dict[str, Any]] = []
        self._disk: Optional[Dict[str, Any]] = None
        self._read_at: Optional[float] = None
        self._reading: Optional["asyncio.Task[None]"] = None
        self._used: Set[int] = set()
        self._cpu = CpuMeter()

    async def read(self, kernel_manager: Any) -> Dict[str, Any]:
        """The answer to ``/api/colab/resources``; ``remoteRuntime`` is for `status`, and unknown to Colab."""
        await self._read_slow_values()
        return {
            "memory": {**memory(), "kernels": kernel_memory(kernel_manager)},
            "disks": disks(),
            "gpus": self._gpus,
            "remoteRuntime": {"cpu": self._cpu.read(), "disk": self._disk},
        }

    async def _read_slow_values(self) -> None:
        if self._read_at is None or time.monotonic() - self._read_at >= _CACHE_S:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.ensure_future(self._refresh())
            await asyncio.shield(self._reading)

    async def _refresh(self) -> None:
        """In threads: on Windows tornado's loop starts no processes."""
        loop = asyncio.get_running_loop()
        self._disk = await loop.run_in_executor(None, fullest_disk)
        self._gpus = gpus_from(await loop.run_in_executor(None, _run_nvidia_smi), self._used)
        self._read_at = time.monotonic()


def memory() -> Dict[str, int]:
    """``totalBytes`` and ``freeBytes`` (available to programs); zeros if unknown."""
    try:
        import psutil

        usage = psutil.virtual_memory()
        return {"totalBytes": int(usage.total), "freeBytes": int(usage.available)}
    except ImportError:
        return _memory_from_proc()


def disks() -> List[Dict[str, Any]]:
    """The file system of ``/``, with the label that Colab's page looks for."""
    try:
        usage = shutil.disk_usage("/")
    except OSError:
        return []
    return [{"filesystem": {"label": "kernel", "totalBytes": usage.total, "usedBytes": usage.used}}]


def kernel_memory(kernel_manager: Any) -> List[Dict[str, Any]]:
    """Resident memory of each kernel's process, and of its children if psutil is installed."""
    kernels = []
    for kernel_id in list(kernel_manager.list_kernel_ids()) if kernel_manager is not None else []:
        pid = _pid_of(kernel_manager, kernel_id)
        used = _resident_bytes(pid) if pid else None
        if used is not None:
            kernels.append({"uuid": kernel_id, "usedBytes": used})
    return kernels


def gpus_from(output: str, used: Set[int]) -> List[Dict[str, Any]]:
    """The GPUs in nvidia-smi's csv (no header, no units). ``used`` collects the indices of those ever seen in use.

    None for values that a GPU does not report: utilisation in MIG mode, memory if it shares the machine's. Without
    ``temperatureCelsius`` if the line has no temperature."""
    gpus = []
    for index, line in enumerate(output.splitlines()):
        fields = _fields_of(line)
        if fields is None:
            continue
        memory_used, memory_total = (_scale(_to_number(field), _MIB) for field in fields[1:3])
        gpu, memory_busy = (_scale(_to_number(field), 1 / 100) for field in fields[3:5])
        temperature = _to_number(fields[5]) if len(fields) > 5 else None
        if gpu or memory_used:
            used.add(index)
        gpus.append(
            {
                "name": fields[0],
                "memoryUsedBytes": memory_used,
                "memoryTotalBytes": memory_total,
                "gpuUtilization": gpu,
                "memoryUtilization": memory_busy,
                "everUsed": index in used,
                **({} if temperature is None else {"temperatureCelsius": temperature}),
            }
        )
    return gpus


def _fields_of(line: str) -> Optional[List[str]]:
    """The five or six values of a line, the first of which is a name that may contain commas; None for other lines."""
    fields = [field.strip() for field in line.rsplit(",", 5)]
    if len(fields) == 6 and (fields[1].startswith("[") or _to_number(fields[1]) is not None):
        return fields
    fields = [field.strip() for field in line.rsplit(",", 4)]
    return fields if len(fields) == 5 else None


def _run_nvidia_smi() -> str:
    command = ["nvidia-smi", f"--query-gpu={_GPU_QUERY}", "--format=csv,noheader,nounits"]
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:  # there is none
        return ""
    output = bytearray()

    def read() -> None:
        if process.stdout:
            output.extend(process.stdout.read(_MAX_GPU_OUTPUT_BYTES + 1))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(_GPU_TIMEOUT_S)
    is_whole = not reader.is_alive() and len(output) <= _MAX_GPU_OUTPUT_BYTES
    if not is_whole:
        process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):  # a driver that hangs may block it forever
        process.wait(_EXIT_TIMEOUT_S)
        reader.join(_EXIT_TIMEOUT_S)
    if process.stdout and not reader.is_alive():
        process.stdout.close()
    return bytes(output).decode("utf-8", "replace") if is_whole and process.returncode == 0 else ""


def _memory_from_proc() -> Dict[str, int]:
    values = {}
    try:
        with open("/proc/meminfo", encoding="ascii", errors="replace") as file:
            for line in file:
                name, _, rest = line.partition(":")
                values[name] = int(_number(rest.split()[0] if rest.split() else "")) * 1024
    except OSError:
        return {"totalBytes": 0, "freeBytes": 0}
    return {"totalBytes": values.get("MemTotal", 0), "freeBytes": values.get("MemAvailable", values.get("MemFree", 0))}


def _pid_of(kernel_manager: Any, kernel_id: str) -> Optional[int]:
    kernel = kernel_manager.get_kernel(kernel_id)
    # jupyter_client 7 and newer start kernels through provisioners, older ones keep the process itself.
    for holder in (getattr(kernel, "provisioner", None), getattr(kernel, "kernel", None)):
        pid = getattr(holder, "pid", None)
        if isinstance(pid, int) and pid > 0:
            return pid
    return None


def _resident_bytes(pid: int) -> Optional[int]:
    try:
        import psutil
    except ImportError:
        return _resident_bytes_from_proc(pid)
    try:
        process = psutil.Process(pid)
        total = process.memory_info().rss
        for child in process.children(recursive=True):
            total += _resident_bytes_of(child, psutil.Error)
        return int(total)
    except psutil.Error:
        return None


def _resident_bytes_of(process: Any, gone: Any) -> int:
    try:
        return int(process.memory_info().rss)
    except gone:
        return 0


def _resident_bytes_from_proc(pid: int) -> Optional[int]:
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None
    return None


def _number(text: str) -> float:
    return _to_number(text) or 0.0


def _to_number(text: str) -> Optional[float]:
    """None for ``[N/A]``, ``[Not Supported]`` and the like."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < 2**40 else None


def _scale(number: Optional[float], unit: float) -> Any:
    """An integer number of bytes, or a share."""
    return None if number is None else int(number * unit) if unit >= 1 else number * unit
