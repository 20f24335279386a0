"""Finds what an interrupted copy has left at the target: files that are done, and good parts of others, by hash."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..core.fast_dataclass import fast_dataclass
from ..launcher.call import invalid_reply
from .items import Item, part_bytes, part_key
from .pipeline import Job
from .remote.blocks import DONE, NOTHING, PART, hash_blocks, hash_left_over
from .remote.names import to_text
from .remote.target_tree import TargetTree
from .remote.wire import FrameSocket

RANGE_BYTES = 64 << 20  # of one request: its answer takes that long to compute
MAX_RANGES = 256


@fast_dataclass(frozen=True)
class ItemRange:
    item: Item
    start: int
    length: int

    @property
    def block(self) -> int:
        return part_bytes(self.item.size)

    @property
    def offsets(self) -> range:
        return range(self.start, self.start + self.length, self.block)


class LeftOvers:
    """What is good, for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: dict[bytes, int] = {}  # bytes of the file itself that are good
        self._parts: dict[bytes, set[int]] = {}  # offsets of blocks aside that are good

    def add(self, of: ItemRange, kind: str, theirs: Sequence[str], ours: Sequence[str] | None) -> None:
        if ours is None or len(theirs) != len(ours):
            return
        good = [offset for offset, one, other in zip(of.offsets, ours, theirs, strict=True) if one == other]
        with self._lock:
            if kind == DONE and len(good) == len(ours):
                self._done[of.item.target] = self._done.get(of.item.target, 0) + of.length
            elif kind == PART:
                self._parts.setdefault(of.item.target, set()).update(good)

    def is_done(self, item: Item) -> bool:
        return self._done.get(item.target, -1) == item.size

    def good_offsets(self, item: Item) -> frozenset[int]:
        return frozenset(self._parts.get(item.target, ()))


def compare_jobs(
    files: Sequence[Item], found: LeftOvers, make: Callable[[Sequence[ItemRange], LeftOvers], Job]
) -> Iterator[Job]:
    """The jobs that fill ``found``; ``make`` makes one for some ranges."""
    group: list[ItemRange] = []
    size = 0
    for each in _ranges(files):
        if group and (size + each.length > RANGE_BYTES or len(group) == MAX_RANGES):
            yield make(group, found)
            group, size = [], 0
        group.append(each)
        size += each.length
    if group:
        yield make(group, found)


class UploadCompareJob:
    """Asks the machine for hashes of what is there, and compares them with the files here."""

    def __init__(
        self, root: str, source: Callable[[Item], bytes], ranges: Sequence[ItemRange], found: LeftOvers
    ) -> None:
        self._root = root
        self._source = source
        self._ranges = ranges
        self._found = found

    def send(self, connection: FrameSocket) -> None:
        wanted = [
            [to_text(each.item.target), part_key(each.item), each.item.size, each.item.mtime_ns, *_numbers(each)]
            for each in self._ranges
        ]
        connection.send({"do": "left-overs", "root": self._root, "files": wanted})

    def receive(self, connection: FrameSocket) -> Sequence[Job]:
        for each, answer in zip(self._ranges, _answers(connection, len(self._ranges)), strict=True):
            match answer:
                case [str(kind), list(theirs)]:
                    if kind != NOTHING:
                        ours = hash_blocks(self._source(each.item), each.item.size, each.item.mtime_ns, *_numbers(each))
                        self._found.add(each, kind, theirs, ours)
                case _:
                    raise invalid_reply("hashes of an unknown form")
        return ()


class DownloadCompareJob:
    """Hashes what is here, and asks the machine for the hashes of its files."""

    def __init__(
        self, tree: TargetTree, source: Callable[[Item], str], ranges: Sequence[ItemRange], found: LeftOvers
    ) -> None:
        self._tree = tree
        self._source = source
        self._ranges = ranges
        self._found = found
        self._sent: list[tuple[ItemRange, str, list[str]]] = []

    def send(self, connection: FrameSocket) -> None:
        sent, wanted = [], []
        for each in self._ranges:
            item = each.item
            kind, ours = hash_left_over(
                self._tree, item.target, part_key(item), item.size, item.mtime_ns, *_numbers(each)
            )
            if kind != NOTHING:
                sent.append((each, kind, ours))
                wanted.append([self._source(item), item.size, item.mtime_ns, *_numbers(each)])
        self._sent = sent
        connection.send({"do": "hashes", "files": wanted})

    def receive(self, connection: FrameSocket) -> Sequence[Job]:
        answers = _answers(connection, None)
        if len(answers) != len(self._sent):
            raise invalid_reply("expected hashes of each file")
        for (each, kind, ours), theirs in zip(self._sent, answers, strict=True):
            if isinstance(theirs, list):
                self._found.add(each, kind, theirs, ours)
        return ()


def _ranges(files: Sequence[Item]) -> Iterator[ItemRange]:
    for item in files:
        step = max(RANGE_BYTES // part_bytes(item.size), 1) * part_bytes(item.size)
        for start in range(0, item.size, step):
            yield ItemRange(item, start, min(step, item.size - start))
        if item.size == 0:
            yield ItemRange(item, 0, 0)


def _numbers(of: ItemRange) -> tuple[int, int, int]:
    return of.start, of.length, of.block


def _answers(connection: FrameSocket, count: int | None) -> list[Any]:
    header, body_length = connection.receive()
    match header:
        case {"result": {"hashes": list(answers)}} if not body_length and count in (None, len(answers)):
            return answers
    raise invalid_reply("expected hashes of each file")
