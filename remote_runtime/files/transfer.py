"""Copies items between a folder here and a folder on the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..core.deadline import Deadline
from .agent import Agent
from .download import Download
from .items import BATCH_BYTES, BATCH_FILES, Tally, check_names
from .items import Item as Item
from .items import ItemFailure as ItemFailure
from .pipeline import MAX_CONNECTIONS, Pipeline
from .remote.rows import ScanRow
from .upload import Upload

BYTES_PER_CONNECTION = 2 << 20  # fewer need no connection of their own


class Transfer:
    """``local_root`` and ``remote_root``: the folders that the items' paths are relative to. ``expected``: targets that
    are replaced only if they are still like this; None: only if there is nothing. ``resume``: keep what an interrupted
    copy has left at the target, where its hash is that of the source."""

    def __init__(
        self,
        agent: Agent,
        *,
        local_root: bytes,
        remote_root: bytes,
        deadline: Deadline,
        on_progress: Callable[[int, int], None] = lambda size, files: None,
        expected: Mapping[bytes, ScanRow | None] | None = None,
        resume: bool = False,
    ) -> None:
        self._agent = agent
        self._deadline = deadline
        self._on_progress = on_progress
        self._expected = expected or {}
        self._resume = resume
        self.local_root = local_root
        self.remote_root = remote_root

    def upload(self, items: Sequence[Item]) -> list[ItemFailure]:
        """Copy to the machine. The items that failed, each with its reason; the others are there.

        Raises ``MachineError`` ``unsafe-name`` before anything is written, and ``RemoteRuntimeError`` where the
        connection is lost for good."""
        check_names(items)
        tally = Tally(self._on_progress)
        upload = Upload(self._agent, self.local_root, self.remote_root, tally)
        try:
            if self._expected:
                upload.expect(self._expected)
            upload.make_folders([item for item in items if item.kind == "folder"])
            self._run(upload, [item for item in items if item.kind == "file"], tally)
            upload.make_links([item for item in items if item.kind == "link"])
            upload.finish_folders()
        finally:
            upload.close()
        return tally.failures

    def download(self, items: Sequence[Item]) -> list[ItemFailure]:
        """Copy from the machine; as ``upload``."""
        check_names(items)
        tally = Tally(self._on_progress)
        download = Download(self.local_root, self.remote_root, tally)
        download.tree.expect(self._expected)
        try:
            download.make_folders([item for item in items if item.kind == "folder"])
            self._run(download, [item for item in items if item.kind == "file"], tally)
            download.make_links([item for item in items if item.kind == "link"])
            download.finish_folders()
        finally:
            download.close()
        return tally.failures

    def _run(self, side: Upload | Download, files: Sequence[Item], tally: Tally) -> None:
        if not files:
            return
        connections = connection_count(sum(item.size for item in files), len(files))
        with Pipeline(self._agent.connect, self._deadline) as pipeline:
            if self._resume:
                pipeline.run(side.compare_jobs(files), connections)
            pipeline.run(side.jobs(files), connections, tally.may_begin)


def connection_count(size: int, files: int) -> int:
    """How many connections so many bytes and files take."""
    return min(MAX_CONNECTIONS, 1 + (size + files * (BATCH_BYTES // BATCH_FILES)) // BYTES_PER_CONNECTION)
