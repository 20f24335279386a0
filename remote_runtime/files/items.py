"""What is copied: items, what became of them, and how they travel together."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeVar

from ..core.errors import MachineError
from ..core.fast_dataclass import fast_dataclass
from ..core.sanitize import clean_line
from .remote.names import is_safe

T = TypeVar("T")
Kind = Literal["file", "folder", "link"]
PART_BYTES = 1 << 20  # a larger file is copied in parts, over all connections
MAX_PARTS = 1 << 14
BATCH_BYTES = 1 << 20
BATCH_FILES = 256
CALL_ITEMS = 2000
MAX_BEGUN = 48  # large files at once
MAX_NAME_CHARS = 200


@fast_dataclass(frozen=True)
class Item:
    """``source`` and ``target``: paths below the roots of the two sides; the target's stays below it, and ``.`` is the
    root itself, for a folder. A source may be absolute too. ``mode``: permission bits. ``link``: what a link points
    to. A folder comes before what is in it."""

    source: bytes
    target: bytes
    kind: Kind
    size: int = 0
    mode: int = 0o644
    mtime_ns: int = 0
    link: bytes = b""


@fast_dataclass(frozen=True)
class ItemFailure:
    """An item that was not copied; ``why`` is safe to show."""

    item: Item
    why: str


class Tally:
    """What has been done so far; for any thread. ``on_progress(bytes, files)``: in all."""

    def __init__(self, on_progress: Callable[[int, int], None]) -> None:
        self._on_progress = on_progress
        self.lock = threading.Lock()
        self._bytes = self._files = 0
        self._begun = 0
        self.failures: list[ItemFailure] = []

    def add(self, size: int, files: int = 0) -> None:
        with self.lock:
            self._bytes += size
            self._files += files
            self._on_progress(self._bytes, self._files)

    def skip(self, item: Item, is_done: bool) -> bool:
        """``is_done``; then it counts."""
        if is_done:
            self.add(item.size, 1)
        return is_done

    def fail(self, item: Item, why: str) -> None:
        with self.lock:
            self.failures.append(ItemFailure(item, why))

    def begin(self) -> None:
        with self.lock:
            self._begun += 1

    def end(self) -> None:
        with self.lock:
            self._begun -= 1

    def may_begin(self) -> bool:
        return self._begun < MAX_BEGUN


def check_names(items: Sequence[Item]) -> None:
    """Raises ``MachineError`` ``unsafe-name`` if a target is outside its root, or below what is no folder there: a link
    could point elsewhere."""
    others = {item.target for item in items if item.kind != "folder"}
    for item in items:
        is_root = item.target == b"." and item.kind == "folder"
        parts = item.target.split(b"/")
        parents = (b"/".join(parts[:count]) for count in range(1, len(parts)))
        if not is_root and (not is_safe(item.target) or any(parent in others for parent in parents)):
            shown = clean_line(os.fsdecode(item.target).encode("utf-8", "replace").decode(), MAX_NAME_CHARS)
            why = f"it would be written outside the folder: {shown}"
            raise MachineError("unsafe-name", "The name of a file is unsafe", why)


def part_bytes(size: int) -> int:
    """The size of a part of a large file."""
    return PART_BYTES * max(1, -(-size // (PART_BYTES * MAX_PARTS)))


def part_key(item: Item) -> str:
    """Distinguishes what is left of an interrupted copy from those of other versions of the file."""
    return hashlib.blake2b(b"%d %d" % (item.size, item.mtime_ns), digest_size=4).hexdigest()


def batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Small files that travel together."""
    batch: list[Item] = []
    size = 0
    for item in items:
        if batch and (size + item.size > BATCH_BYTES or len(batch) == BATCH_FILES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item.size
    if batch:
        yield batch


def groups(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), CALL_ITEMS):
        yield items[start : start + CALL_ITEMS]
