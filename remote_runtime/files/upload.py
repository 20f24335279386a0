"""Uploads: small files travel together, large ones in parts over all connections."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..launcher.call import invalid_reply
from .agent import Agent, reason
from .items import PART_BYTES, Item, Tally, batches, groups, part_bytes, part_key
from .pipeline import Job
from .remote.names import to_text
from .remote.rows import ScanRow
from .remote.source_files import is_hole, may_have_holes, open_file, read_file
from .remote.sync_requests import to_wire
from .remote.wire import FrameSocket
from .resume import LeftOvers, UploadCompareJob, compare_jobs

CHANGED = "it changed while it was copied"


class Upload:
    """``left_overs``: what need not be sent again."""

    def __init__(self, agent: Agent, local_root: bytes, remote_root: bytes, tally: Tally) -> None:
        self.left_overs = LeftOvers()
        self.local_root = local_root
        self.root = to_text(remote_root)
        self.tally = tally
        self._agent = agent
        self._is_checked = False
        self._made_folders: list[Item] = []
        self.open_files: set[LargeUpload] = set()

    def make_folders(self, folders: Sequence[Item]) -> None:
        for group in groups(folders):
            answer = self._agent.call(self.request("folders", folders=[[to_text(item.target)] for item in group]))
            self._note(group, answer)
            made = set(answer["made"]) if isinstance(answer.get("made"), list) else set()
            self._made_folders += [item for item in group if to_text(item.target) in made]

    def expect(self, rows: Mapping[bytes, ScanRow | None]) -> None:
        for names in groups(list(rows)):
            present = {name: row for name in names if (row := rows[name]) is not None}
            absent = [to_text(name) for name in names if name not in present]
            self._agent.call(self.request("sync-expect", rows=to_wire(present), absent=absent))
        self._is_checked = True

    def make_links(self, links: Sequence[Item]) -> None:
        for group in groups(links):
            wanted = [[to_text(item.target), to_text(item.link), item.mtime_ns] for item in group]
            self._note(group, self._agent.call(self.request("links", links=wanted)))

    def finish_folders(self) -> None:
        """Set the mode and time of the folders that were made: a folder after those in it."""
        for group in groups(self._made_folders[::-1]):
            wanted = [[to_text(item.target), item.mode, item.mtime_ns] for item in group]
            self._note(group, self._agent.call(self.request("set-folders", folders=wanted)))

    def compare_jobs(self, files: Sequence[Item]) -> Iterator[Job]:
        """Find what an earlier copy has left."""
        return compare_jobs(files, self.left_overs, functools.partial(UploadCompareJob, self.root, self.source))

    def jobs(self, files: Sequence[Item]) -> Iterator[Job]:
        files = [item for item in files if not self.tally.skip(item, self.left_overs.is_done(item))]
        for batch in batches([item for item in files if item.size <= PART_BYTES]):
            yield PutJob(self, batch)
        for item in files:
            if item.size > PART_BYTES:
                yield BeginJob(LargeUpload(self, item))

    def close(self) -> None:
        for large in list(self.open_files):
            large.close()

    def request(self, do: str, **fields: Any) -> dict[str, Any]:
        return {"do": do, "root": self.root, "checked": self._is_checked, **fields}

    def source(self, item: Item) -> bytes:
        return os.path.join(self.local_root, item.source)

    def _note(self, items: Sequence[Item], answer: dict[str, Any]) -> None:
        for item, why in failures_of(items, answer):
            self.tally.fail(item, why)


class PutJob:
    """Small files."""

    def __init__(self, upload: Upload, items: Sequence[Item]) -> None:
        self._upload = upload
        self._items = items
        self._sent: list[Item] = []
        self._failures: list[tuple[Item, str]] = []

    def send(self, connection: FrameSocket) -> None:
        self._sent, self._failures = [], []
        files, contents = [], []
        for item in self._items:
            try:
                content, mtime_ns = read_file(self._upload.source(item), item.size + 1)
            except OSError as error:
                self._failures.append((item, error.strerror or str(error)))
                continue
            if len(content) != item.size or mtime_ns != item.mtime_ns:
                self._failures.append((item, CHANGED))
                continue
            self._sent.append(item)
            files.append([to_text(item.target), item.size, item.mode, item.mtime_ns])
            contents.append(content)
        connection.send(self._upload.request("put", files=files), b"".join(contents))

    def receive(self, connection: FrameSocket) -> Sequence[Job]:
        reply = answer(connection)  # before that, the other thread still writes what was sent
        failures = [*self._failures, *failures_of(self._sent, reply)]
        failed = {id(item) for item, _ in failures}
        for item, why in failures:
            self._upload.tally.fail(item, why)
        done = [item for item in self._sent if id(item) not in failed]
        self._upload.tally.add(sum(item.size for item in done), len(done))
        return ()


class LargeUpload:
    """A file that is sent in parts. ``remaining``: parts without an answer."""

    def __init__(self, upload: Upload, item: Item) -> None:
        self.upload = upload
        self.item = item
        self.key = part_key(item)
        self.descriptor = -1
        self.remaining = 0
        self.why = ""  # it failed
        self.has_holes = False

    def open(self) -> None:
        """Raises ``OSError``."""
        if self.descriptor < 0:
            self.descriptor = open_file(self.upload.source(self.item))
            self.upload.open_files.add(self)
            self.has_holes = may_have_holes(os.fstat(self.descriptor))
        self.check_unchanged()

    def check_unchanged(self) -> None:
        status = os.fstat(self.descriptor)
        if (status.st_size, status.st_mtime_ns) != (self.item.size, self.item.mtime_ns):
            raise OSError(0, CHANGED)

    def request(self, do: str, **fields: Any) -> dict[str, Any]:
        return self.upload.request(do, name=to_text(self.item.target), key=self.key, **fields)

    def parts(self) -> list[Job]:
        length = part_bytes(self.item.size)
        good = self.upload.left_overs.good_offsets(self.item)
        offsets = [offset for offset in range(0, self.item.size, length) if offset not in good]
        self.remaining = len(offsets)
        self.upload.tally.add(sum(min(length, self.item.size - offset) for offset in good))
        return [PartJob(self, offset, min(length, self.item.size - offset)) for offset in offsets]

    def end(self, why: str = "") -> None:
        """It is done, or has failed."""
        self.close()
        if why:
            self.upload.tally.fail(self.item, why)
        else:
            self.upload.tally.add(0, 1)
        self.upload.tally.end()

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        self.upload.open_files.discard(self)


class BeginJob:
    """Begins a large file on the machine."""

    def __init__(self, large: LargeUpload) -> None:
        self._large = large
        large.upload.tally.begin()

    def send(self, connection: FrameSocket) -> None:
        large = self._large
        large.why = ""
        try:
            large.open()
        except OSError as error:
            large.why = error.strerror or str(error)
            connection.send(large.request("discard"))
            return
        needed = large.item.size
        if sys.platform != "win32" and large.has_holes:
            needed = min(needed, os.fstat(large.descriptor).st_blocks * 512)
        keep = bool(large.upload.left_overs.good_offsets(large.item))
        needed = 0 if keep else needed
        connection.send(large.request("begin", size=large.item.size, needed=needed, keep=keep))

    def receive(self, connection: FrameSocket) -> Sequence[Job]:
        why = result_error(answer(connection))
        if self._large.why or why:
            self._large.end(self._large.why or why)
            return ()
        return self._large.parts() or [FinishJob(self._large)]


class PartJob:
    def __init__(self, large: LargeUpload, offset: int, length: int) -> None:
        self._large = large
        self._offset = offset
        self._length = length

    def send(self, connection: FrameSocket) -> None:
        large = self._large
        header = large.request("write", offset=self._offset)
        is_hole_here = large.has_holes and is_hole(large.descriptor, self._offset, self._length)
        if large.why or is_hole_here:
            connection.send(header)
        elif not connection.send_file(header, large.descriptor, self._offset, self._length):
            large.why = CHANGED

    def receive(self, connection: FrameSocket) -> Sequence[Job]:
        large, reply = self._large, answer(connection)
        if "error" in reply:
            large.why = large.why or reason(reply["error"])
        if not large.why:
            large.upload.tally.add(self._length)
        with large.upload.tally.lock:
            large.remaining -= 1
            is_last = large.remaining == 0
        return [FinishJob(large)] if is_last else ()


class FinishJob:
    def __init__(self, large: LargeUpload) -> None:
        self._large = large

    def send(self, connection: FrameSocket) -> None:
        large, item = self._large, self._large.item
        try:
            large.check_unchanged()
        except OSError as error:
            large.why = large.why or error.strerror or str(error)
        if large.why:
            connection.send(large.request("discard"))
        else:
            connection.send(large.request("finish", size=item.size, mode=item.mode, mtime_ns=item.mtime_ns))

    def receive(self, connection: FrameSocket) -> Sequence[Job]:
        why = result_error(answer(connection))
        self._large.end(self._large.why or why)
        return ()


def answer(connection: FrameSocket) -> dict[str, Any]:
    """An answer without a body."""
    header, body_length = connection.receive()
    if body_length:
        raise invalid_reply("a body where none is expected")
    return header


def result_error(header: dict[str, Any]) -> str:
    """Why a request failed; empty if it did not."""
    if "error" in header:
        return reason(header["error"])
    if not isinstance(header.get("result"), dict):
        raise invalid_reply("a frame of an unknown kind")
    return ""


def failures_of(items: Sequence[Item], header: dict[str, Any]) -> list[tuple[Item, str]]:
    """``[number, error]`` of items."""
    if "error" in header:
        why = reason(header["error"])
        return [(item, why) for item in items]
    failures = header.get("failures")
    if not isinstance(failures, list):
        raise invalid_reply("expected a list of failures")
    found = []
    for each in failures:
        match each:
            case [int(number), dict(error)] if 0 <= number < len(items):
                found.append((items[number], reason(error)))
            case _:
                raise invalid_reply("a failure of an unknown kind")
    return found
