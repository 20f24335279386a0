"""The messages that one kernel has published, in order: the newest in memory, older ones in files."""

from __future__ import annotations

import re
import struct
from array import array
from typing import Iterator, List, NamedTuple, Optional, Set

from .budget import OutputBudget
from .intervals import IntervalSet

_ENTRY = struct.Struct("!IIBBd")  # content bytes, place in the block, type, request bytes, seconds since the epoch
_MESSAGE_BYTES = 16  # that each message counts for, beside its content
RECORDED_TYPES = (
    "execute_input",
    "stream",
    "display_data",
    "update_display_data",
    "execute_result",
    "error",
    "clear_output",
)


# What ipykernel writes before the text of a stream, and the end of a line inside it.
_STREAM_HEAD = re.compile(rb'\{"name": "std(?:out|err)", "text": "')
_LINE_END = re.compile(rb"[^\\](?:\\\\)*\\n")


def _end_of_stream(content: bytes, max_bytes: int) -> bytes:
    """The last whole lines of a stream message: a kernel puts all that it prints in a moment into one. Empty for
    another form."""
    head, end = _STREAM_HEAD.match(content), content[-max_bytes:]
    line_end = _LINE_END.search(end)
    if head is None or line_end is None or not content.endswith(b'"}'):
        return b""
    return head.group() + end[line_end.end() :]


class OutputMessage(NamedTuple):
    """``request``: the id of the request that it belongs to. ``at``: seconds since the epoch. ``content``: JSON as the
    kernel sent it."""

    seq: int
    type: str
    request: str
    at: float
    content: bytes


class CutCount(NamedTuple):
    """What is lost of a record: messages, their bytes, and why."""

    messages: int = 0
    size: int = 0
    why: str = ""


class Block:
    """Messages that follow each other. ``ids``: hashes of their ids. ``content``: None when it is in the file
    ``path``."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.ids = array("q")
        self.content: Optional[bytearray] = bytearray()
        self.size = 0
        self.stored_bytes = 0
        self.number = 0
        self.path = ""
        self.message_count = 0
        self.requests: Set[str] = set()

    @property
    def end(self) -> int:
        return self.first + len(self.ids)

    def append(self, message: Optional[OutputMessage], id_hash: int) -> None:
        if message is not None and self.content is not None:
            request = message.request.encode()[:255]
            self.content += _ENTRY.pack(
                len(message.content),
                len(self.ids),
                RECORDED_TYPES.index(message.type),
                len(request),
                message.at,
            )
            self.content += request
            self.content += message.content
            self.message_count += 1
            self.requests.add(message.request)
            self.size += len(message.content)
        self.size += _MESSAGE_BYTES
        self.ids.append(id_hash)

    def messages(self) -> Iterator[OutputMessage]:
        """Raises ``OSError``."""
        content: bytes
        if self.content is not None:
            content = bytes(self.content)
        else:
            with open(self.path, "rb") as file:
                content = file.read()
        at = 0
        while at < len(content):
            size, place, kind, request_size, moment = _ENTRY.unpack_from(content, at)
            at += _ENTRY.size
            request = content[at : at + request_size].decode(errors="replace")
            at += request_size
            yield OutputMessage(self.first + place, RECORDED_TYPES[kind], request, moment, content[at : at + size])
            at += size


class Journal:
    """``next``: the number of the next message. ``delivered``: the numbers of those that are not to be kept.
    ``cut``: what did not fit."""

    def __init__(self, budget: OutputBudget) -> None:
        self.next = 0
        self.delivered = IntervalSet()
        self.cut = CutCount()
        self._budget = budget
        self._blocks: List[Block] = []
        budget.share_with(self._oldest_file, self._cut_oldest_file)

    @property
    def first(self) -> int:
        """The number of the first message that is kept."""
        return self._blocks[0].first if self._blocks else self.next

    def append(self, message: Optional[OutputMessage], id_hash: int) -> int:
        """Returns its number. ``message``: None for one that only counts; its ``seq`` is not used."""
        limits = self._budget.limits
        if message is not None and len(message.content) > limits.kernel_bytes // 2:
            kept = _end_of_stream(message.content, limits.kernel_bytes // 4) if message.type == "stream" else b""
            self._count_cut(1, len(message.content) - len(kept), "a message was too large")
            message = message._replace(content=kept) if kept else None
        last = self._blocks[-1] if self._blocks else None
        if last is None or last.content is None or last.size >= limits.block_bytes:
            last = Block(self.next)
            self._blocks.append(last)
        last.append(message, id_hash)
        self.next += 1
        self._spill()
        return self.next - 1

    def find(self, id_hash: int, start: int) -> Optional[int]:
        """The number of the message with this id, from ``start`` on."""
        for block in self._blocks[self._index(start) :]:
            skipped = max(0, start - block.first)
            try:
                return block.first + skipped + block.ids[skipped:].index(id_hash)
            except ValueError:
                continue
        return None

    def deliver(self, start: int, end: int) -> None:
        """The messages from ``start`` to before ``end`` were delivered."""
        self.delivered.add(start, end)
        for block in self._blocks[self._index(start) :]:
            if block.first >= end:
                break
            if self.delivered.covers(block.first, block.end):
                self._blocks.remove(block)
                self._release(block)
        self.delivered.forget_below(self.first)

    def blocks(self, start: int, end: int) -> Iterator[Block]:
        """Those with undelivered messages between the two numbers."""
        for block in list(self._blocks):
            if not self.delivered.covers(max(start, block.first), min(end, block.end)):
                yield block

    def read(self, block: Block, start: int, end: int) -> List[OutputMessage]:
        """The block's undelivered messages between the two numbers; none if it was removed meanwhile."""
        gaps = list(self.delivered.gaps(max(start, block.first), min(end, block.end)))
        try:
            return [each for each in block.messages() if any(low <= each.seq < high for low, high in gaps)]
        except FileNotFoundError:
            return []

    def _index(self, number: int) -> int:
        """The index of the first block that ends after the message: mostly one of the last."""
        index = len(self._blocks)
        while index and self._blocks[index - 1].end > number:
            index -= 1
        return index

    def _spill(self) -> None:
        in_memory = [block for block in self._blocks[-8:] if block.content is not None]
        total = sum(block.size for block in in_memory)
        while total > self._budget.limits.memory_bytes:
            block = in_memory.pop(0)
            total -= block.size
            self._store(block)

    def _store(self, block: Block) -> None:
        content = block.content or bytearray()
        try:
            if self._budget.is_low():
                raise OSError(self._budget.paused)
            block.number, block.path = self._budget.write(content)
        except OSError as error:
            self._cut_block(block, str(error.strerror or error))
            return
        block.content, block.stored_bytes = None, len(content)
        while sum(each.size for each in self._blocks) > self._budget.limits.kernel_bytes and self._oldest_file():
            self._cut_oldest_file()
        self._budget.keep_within()

    def _oldest_file(self) -> int:
        return next((block.number for block in self._blocks if block.number), 0)

    def _cut_oldest_file(self) -> None:
        self._cut_block(next(block for block in self._blocks if block.number), "the limit was reached")

    def _cut_block(self, block: Block, why: str) -> None:
        undelivered = sum(end - start for start, end in self.delivered.gaps(block.first, block.end))
        if undelivered:
            share = undelivered / len(block.ids)
            self._count_cut(min(undelivered, block.message_count), int(block.size * share), why)
        self._blocks.remove(block)
        self._release(block)
        self.delivered.forget_below(self.first)

    def _count_cut(self, messages: int, size: int, why: str) -> None:
        self.cut = CutCount(self.cut.messages + messages, self.cut.size + size, why)

    def _release(self, block: Block) -> None:
        if block.number:
            self._budget.remove(block.path, block.stored_bytes)
