"""How much the recorded outputs of all kernels may use, on which disk."""

from __future__ import annotations

import os
import shutil
from typing import Any, Callable, List, Mapping, NamedTuple, Tuple

LOW_DISK = "the disk is nearly full"


class OutputLimits(NamedTuple):
    """Bytes on disk of one kernel and of all; what must stay free of the disk, in bytes and as a share; bytes of one
    kernel in memory before they go to the disk."""

    kernel_bytes: int = 200 << 20
    total_bytes: int = 1 << 30
    min_free_bytes: int = 1 << 30
    min_free_share: float = 0.05
    memory_bytes: int = 1 << 20

    @classmethod
    def configured(cls, section: Mapping[str, Any]) -> OutputLimits:
        """With the values that the server's configuration has."""
        return cls(**{name: section[name] for name in cls._fields if name in section})

    @property
    def block_bytes(self) -> int:
        return max(1, min(self.memory_bytes // 2, self.kernel_bytes // 8))


class OutputBudget:
    """The files of the recorded outputs, mode 0600, in ``directory``, mode 0700, which is emptied first: a server that
    starts has no kernels. ``used``: bytes in them now. ``paused``: why nothing can be written; empty if it can."""

    def __init__(self, directory: str, limits: OutputLimits) -> None:
        self.limits = limits
        self.used = 0
        self.paused = ""
        self._directory = directory
        self._count = 0
        self._oldest: List[Tuple[Callable[[], int], Callable[[], None]]] = []
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory, mode=0o700)
        os.chmod(directory, 0o700)

    def share_with(self, oldest: Callable[[], int], cut: Callable[[], None]) -> None:
        """A user of the budget. ``oldest()``: the number of its oldest file, 0 without any; ``cut()``: removes that."""
        self._oldest.append((oldest, cut))

    def is_low(self) -> bool:
        """Whether the disk has too little free space now; remembered as ``paused``."""
        usage = shutil.disk_usage(self._directory)
        needed = max(self.limits.min_free_bytes, int(usage.total * self.limits.min_free_share))
        self.paused = LOW_DISK if usage.free < needed else ""
        return bool(self.paused)

    def write(self, content: bytearray) -> Tuple[int, str]:
        """The number and the path of a new file. Raises ``OSError``."""
        self._count += 1
        path = os.path.join(self._directory, f"{self._count:08}")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        self.used += len(content)
        return self._count, path

    def remove(self, path: str, size: int) -> None:
        self.used -= size
        os.unlink(path)

    def keep_within(self) -> None:
        """Remove the oldest files beyond the limit for all kernels."""
        while self.used > self.limits.total_bytes:
            _, cut = min((number(), remove) for number, remove in self._oldest if number())
            cut()
