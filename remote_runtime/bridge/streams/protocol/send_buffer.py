"""The bytes of one direction of a stream that the peer has not acknowledged: in memory, then in temporary files."""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from typing import Deque, List, Optional

from .receive_buffer import INITIAL_WINDOW_BYTES, MAX_WINDOW_BYTES

MAX_WINDOWS_BYTES = 256 << 20  # beyond the initial window of each stream
_SEGMENT_BYTES = 16 << 20


class SpoolFull(Exception):
    """There is no room for more unacknowledged bytes; the text says why."""


class WindowAllowance:
    """How many bytes wider than at first the windows of all streams of one process may be, in one direction."""

    def __init__(self, max_bytes: int) -> None:
        self.left = max_bytes

    def reserve(self, more: int) -> bool:
        """Whether a window may grow by so many bytes."""
        if more > self.left:
            return False
        self.left -= more
        return True

    def release(self, count: int) -> None:
        self.left += count


class SpoolBudget:
    """What the buffers of one process may use together. ``memory_bytes``: of the buffers that can spool;
    ``disk_bytes``: of all their files, which are nameless, in ``directory``, and are written only while so much of its
    disk is free as ``min_free_bytes`` and ``min_free_share`` say. ``in_memory``, ``on_disk``: used now.
    ``receiving``, ``sending``: the windows of the two directions."""

    def __init__(
        self,
        memory_bytes: int = 64 << 20,
        disk_bytes: int = 1 << 30,
        directory: Optional[str] = None,
        min_free_bytes: int = 1 << 30,
        min_free_share: float = 0.05,
    ) -> None:
        self.memory_bytes = memory_bytes
        self.disk_bytes = disk_bytes
        self.directory = directory
        self.min_free_bytes = min_free_bytes
        self.min_free_share = min_free_share
        self.receiving = WindowAllowance(MAX_WINDOWS_BYTES)
        self.sending = WindowAllowance(MAX_WINDOWS_BYTES)
        self.in_memory = 0
        self.on_disk = 0

    def is_disk_low(self) -> bool:
        """Raises ``OSError``."""
        usage = shutil.disk_usage(self.directory or tempfile.gettempdir())
        return usage.free < max(self.min_free_bytes, usage.total * self.min_free_share)


class _Segment:
    """A temporary file without a name: it is deleted with its last chunk, or when the process ends."""

    def __init__(self, budget: SpoolBudget) -> None:
        self.size = 0
        self.chunk_count = 0
        self._budget = budget
        self._file = tempfile.TemporaryFile(prefix="stream-", dir=budget.directory, buffering=0)  # noqa: SIM115  # mode 0600

    def append(self, content: bytes) -> int:
        """Returns where ``content`` begins. Raises ``OSError``."""
        at, left = self.size, memoryview(content)
        self.chunk_count += 1
        try:
            while left:
                self._file.seek(self.size)
                written = self._file.write(left)
                left = left[written:]
                self.size += written
                self._budget.on_disk += written
        except OSError:
            self.release_chunk()
            raise
        return at

    def read(self, at: int, size: int) -> bytes:
        self._file.seek(at)
        content = b""
        while len(content) < size:
            more = self._file.read(size - len(content))
            if not more:
                raise OSError("a spool file is shorter than it was")
            content += more
        return content

    def release_chunk(self) -> None:
        self.chunk_count -= 1
        if not self.chunk_count:
            self._file.close()
            self._budget.on_disk -= self.size


class Chunk:
    """``flags``: of the end of the bytes, which counts as one byte. ``carrier``: the number of the carrier on which it
    was last sent; None if it is to be sent."""

    __slots__ = ("_at", "_content", "_segment", "carrier", "flags", "offset", "size")

    def __init__(self, offset: int, content: bytes, flags: int) -> None:
        self.offset = offset
        self.size = len(content)
        self.flags = flags
        self.carrier: Optional[int] = None
        self._content = content
        self._segment: Optional[_Segment] = None
        self._at = 0

    @property
    def end(self) -> int:
        return self.offset + self.size + (1 if self.flags else 0)

    @property
    def is_in_memory(self) -> bool:
        return self._segment is None

    def content(self) -> bytes:
        """Raises ``OSError``."""
        return self._content if self._segment is None else self._segment.read(self._at, self.size)

    def move_to(self, segment: _Segment) -> None:
        self._at = segment.append(self._content)
        self._segment, self._content = segment, b""

    def release(self) -> None:
        if self._segment is not None:
            self._segment.release_chunk()


class SendBuffer:
    """Chunks in the order of their offsets. ``end``: the offset after the last byte; ``size``: unacknowledged bytes;
    ``unsent``: the chunks to be sent, lowest offset first. ``limit``: the offset that the peer accepts bytes up to;
    ``acknowledged``: bytes before it were received by the peer."""

    def __init__(self, budget: SpoolBudget) -> None:
        self.end = 0
        self.size = 0
        self.unsent: Deque[Chunk] = deque()
        self.limit = self._window = INITIAL_WINDOW_BYTES
        self.acknowledged = 0
        self._budget = budget
        self._chunks: Deque[Chunk] = deque()
        self._segment: Optional[_Segment] = None
        self._in_memory = 0

    def __len__(self) -> int:
        """The number of chunks that are not acknowledged."""
        return len(self._chunks)

    def append(self, content: bytes, flags: int = 0, *, spool_above: Optional[int] = None) -> None:
        """``spool_above``: so many bytes of this stream stay in memory; None: all of them do. Raises ``SpoolFull``."""
        chunk = Chunk(self.end, content, flags)
        if spool_above is not None and content and self._must_spool(chunk.size, spool_above):
            self._spool(chunk)
        else:
            self._in_memory += chunk.size
            self._budget.in_memory += chunk.size
        self.end = chunk.end
        self.size += chunk.size
        self._chunks.append(chunk)
        self.unsent.append(chunk)

    def acknowledge(self, offset: int, limit: int) -> None:
        """Forget the chunks that end at or before ``offset``. ``limit``: up to where the peer accepts bytes now; the
        window that this leaves is used as far as the budget allows."""
        self.acknowledged = max(self.acknowledged, offset)
        window = min(limit - self.acknowledged, MAX_WINDOW_BYTES)
        if window > self._window and self._budget.sending.reserve(window - self._window):
            self._window = window
        self.limit = max(self.limit, self.acknowledged + min(window, self._window))
        while self._chunks and self._chunks[0].end <= offset:
            chunk = self._chunks.popleft()
            if self.unsent and self.unsent[0] is chunk:
                self.unsent.popleft()
            self._release(chunk)

    def lose(self, carrier: int) -> None:
        """Send again what was last sent on this carrier."""
        lost = False
        for chunk in self._chunks:
            if chunk.carrier == carrier:
                chunk.carrier, lost = None, True
        if lost:
            self.unsent = deque(chunk for chunk in self._chunks if chunk.carrier is None)

    def clear(self) -> None:
        """Forget all chunks, and return the window to the budget."""
        self._budget.sending.release(self._window - INITIAL_WINDOW_BYTES)
        self._window = INITIAL_WINDOW_BYTES
        chunks: List[Chunk] = list(self._chunks)
        self._chunks.clear()
        self.unsent.clear()
        for chunk in chunks:
            self._release(chunk)

    def _must_spool(self, size: int, spool_above: int) -> bool:
        budget = self._budget
        return self._in_memory + size > spool_above or budget.in_memory + size > budget.memory_bytes

    def _spool(self, chunk: Chunk) -> None:
        if self._budget.on_disk + chunk.size > self._budget.disk_bytes:
            raise SpoolFull(f"{self._budget.on_disk >> 20} MB wait on disk for clients that are not connected")
        try:
            if self._segment is None or self._segment.size >= _SEGMENT_BYTES or not self._segment.chunk_count:
                if self._budget.is_disk_low():
                    raise SpoolFull("the disk is nearly full")
                self._segment = _Segment(self._budget)
            chunk.move_to(self._segment)
        except OSError as error:
            raise SpoolFull(f"the spool cannot be written: {error.strerror or error}") from error

    def _release(self, chunk: Chunk) -> None:
        self.size -= chunk.size
        if chunk.is_in_memory:
            self._in_memory -= chunk.size
            self._budget.in_memory -= chunk.size
        chunk.release()
