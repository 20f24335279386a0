"""Downloads: small files travel together, large ones in parts over all connections."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence

from ..launcher.call import invalid_reply
from .agent import reason
from .items import PART_BYTES, Item, Tally, batches, part_bytes, part_key
from .pipeline import Job
from .remote.names import to_text
from .remote.target_tree import TargetTree
from .remote.wire import FrameSocket
from .resume import DownloadCompareJob, LeftOvers, compare_jobs
from .upload import CHANGED


class Download:
    """``left_overs``: what need not be requested again."""

    def __init__(self, local_root: bytes, remote_root: bytes, tally: Tally) -> None:
        self.left_overs = LeftOvers()
        self.tree = TargetTree(local_root)
        self.tally = tally
        self._remote_root = remote_root
        self._made_folders: list[Item] = []

    def make_folders(self, folders: Sequence[Item]) -> None:
        for item in folders:
            self.attempt(item, self._make_folder, item)

    def make_links(self, links: Sequence[Item]) -> None:
        for item in links:
            self.attempt(item, self.tree.make_link, item.target, item.link, item.mtime_ns)

    def finish_folders(self) -> None:
        """Set the mode and time of the folders that were made: a folder after those in it."""
        for item in reversed(self._made_folders):
            self.attempt(item, self.tree.set_folder, item.target, item.mode, item.mtime_ns)

    def compare_jobs(self, files: Sequence[Item]) -> Iterator[Job]:
        """Find what an earlier copy has left."""
        return compare_jobs(files, self.left_overs, functools.partial(DownloadCompareJob, self.tree, self.source))

    def jobs(self, files: Sequence[Item]) -> Iterator[Job]:
        files = [item for item in files if not self.tally.skip(item, self.left_overs.is_done(item))]
        for batch in batches([item for item in files if item.size <= PART_BYTES]):
            yield FetchJob(self, batch)
        for item in files:
            if item.size > PART_BYTES:
                large = LargeDownload(self, item)
                if self.attempt(item, large.begin):
                    self.tally.begin()
                    yield from large.first_part()

    def source(self, item: Item) -> str:
        return to_text(os.path.join(self._remote_root, item.source))

    def attempt(self, item: Item, work: Callable[..., object], *arguments: object) -> bool:
        """Whether it succeeded; else the item has failed."""
        try:
            work(*arguments)
        except OSError as error:
            self.tally.fail(item, error.strerror or str(error))
            return False
        return True

    def close(self) -> None:
        self.tree.close()

    def _make_folder(self, item: Item) -> None:
        if self.tree.make_folder(item.target):
            self._made_folders.append(item)


class FetchJob:
    """Small files."""

    def __init__(self, download: Download, items: Sequence[Item]) -> None:
        self._download = download
        self._items = items

    def send(self, connection: FrameSocket) -> None:
        wanted = [[self._download.source(item), item.size + 1] for item in self._items]
        connection.send({"do": "fetch", "files": wanted})

    def receive(self, connection: FrameSocket) -> Sequence[Job]:
        header, body_length = connection.receive()
        if body_length > sum(item.size + 1 for item in self._items):
            raise invalid_reply("more bytes than were requested")
        body, offset = memoryview(connection.receive_body(body_length)), 0
        found = header.get("files")
        if not isinstance(found, list) or len(found) != len(self._items):
            raise invalid_reply("expected an answer for each file")
        tally, size, done = self._download.tally, 0, 0
        for item, each in zip(self._items, found, strict=True):
            match each:
                case [int(length), int(mtime_ns)] if 0 <= length <= body_length - offset:
                    content = body[offset : offset + length]
                    offset += length
                    if (length, mtime_ns) != (item.size, item.mtime_ns):
                        tally.fail(item, CHANGED)
                    elif self._download.attempt(item, self._put, item, content):
                        size, done = size + item.size, done + 1
                case dict(error):
                    tally.fail(item, reason(error))
                case _:
                    raise invalid_reply("an answer of an unknown kind")
        tally.add(size, done)
        return ()

    def _put(self, item: Item, content: memoryview) -> None:
        self._download.tree.put(item.target, content, item.mode, item.mtime_ns)


class LargeDownload:
    """A file that is received in parts."""

    def __init__(self, download: Download, item: Item) -> None:
        self.download = download
        self.item = item
        self.key = part_key(item)
        self.remaining = 0
        self.good: frozenset[int] = frozenset()
        self.why = ""  # it failed

    def begin(self) -> None:
        """Raises ``OSError``."""
        self.good = self.download.left_overs.good_offsets(self.item)
        self.download.tree.begin(self.item.target, self.key, self.item.size, 0, keep=bool(self.good))

    def first_part(self) -> Iterator[Job]:
        """The others follow from it: `MAX_BEGUN` limits the files, not their parts. None where all is here."""
        length = part_bytes(self.item.size)
        offsets = [offset for offset in range(0, self.item.size, length) if offset not in self.good]
        self.download.tally.add(sum(min(length, self.item.size - offset) for offset in self.good))
        self.remaining = len(offsets)
        if not offsets:
            self.end()
            return
        first, *others = [ReadJob(self, offset, min(length, self.item.size - offset)) for offset in offsets]
        first.follow_ups = others
        yield first

    def write(self, offset: int, data: memoryview) -> None:
        try:
            self.download.tree.write(self.item.target, self.key, offset, data)
        except OSError as error:
            self.why = self.why or error.strerror or str(error)

    def part_done(self, length: int) -> None:
        if not self.why:
            self.download.tally.add(length)
        with self.download.tally.lock:
            self.remaining -= 1
            is_last = self.remaining == 0
        if is_last:
            self.end()

    def end(self) -> None:
        """All parts have arrived, or it has failed."""
        tally, tree, item = self.download.tally, self.download.tree, self.item
        tally.end()
        try:
            if not self.why:
                tree.finish(item.target, self.key, item.size, item.mode, item.mtime_ns)
                tally.add(0, 1)
                return
            tree.discard(item.target, self.key)
        except OSError as error:
            self.why = self.why or error.strerror or str(error)
        tally.fail(item, self.why)


class ReadJob:
    def __init__(self, large: LargeDownload, offset: int, length: int) -> None:
        self._large = large
        self._offset = offset
        self._length = length
        self.follow_ups: Sequence[Job] = ()

    def send(self, connection: FrameSocket) -> None:
        length = 0 if self._large.why else self._length
        path = self._large.download.source(self._large.item)
        connection.send({"do": "read", "path": path, "offset": self._offset, "length": length})

    def receive(self, connection: FrameSocket) -> Sequence[Job]:
        header, body_length = connection.receive()
        if body_length not in (0, self._length):
            raise invalid_reply("another number of bytes than was requested")
        large = self._large
        data = memoryview(connection.receive_body(body_length))
        if "error" in header:
            large.why = large.why or reason(header["error"])
        elif (header.get("size"), header.get("mtime_ns")) != (large.item.size, large.item.mtime_ns):
            large.why = large.why or CHANGED
        elif body_length and not large.why:
            large.write(self._offset, data)
        elif not large.why and header.get("hole") is not True:
            raise invalid_reply("a part without its bytes")
        large.part_done(self._length)
        return self.follow_ups
