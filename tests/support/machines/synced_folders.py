"""Two folders, one of this computer and one of a ``FilesMachine``, and syncs between them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from remote_runtime.core.deadline import Deadline
from remote_runtime.files.agent import Agent
from remote_runtime.files.items import Item, ItemFailure
from remote_runtime.files.remote.rows import ScanRow
from remote_runtime.files.remote.scan_cache import ScanCache
from remote_runtime.files.sync_plan import SyncOptions
from remote_runtime.files.sync_record import FOLDER, RecordFile
from remote_runtime.files.sync_run import Sync, SyncOutcome
from remote_runtime.files.sync_sides import LocalSide, RemoteSide
from remote_runtime.files.transfer import Transfer


class SyncedFolders:
    """``upload``: the folder of this computer is the source. ``before``: is called before each step, by its name."""

    def __init__(self, agent: Agent, top: Path, *, upload: bool = True) -> None:
        self.agent, self.upload = agent, upload
        self.here, self.there, self.state = top / "here", top / "there", top / "state"
        for folder in (self.here, self.there, self.state):
            folder.mkdir()
        self.source, self.target = (self.here, self.there) if upload else (self.there, self.here)
        self.before: Callable[[str], None] = lambda step: None
        self.confirmed: list[tuple[int, int, bool]] = []
        self.hashed_bytes = 0

    def sync(self, *, delete: bool = False, force: bool = False, compares_modes: bool = True) -> SyncOutcome:
        cache = ScanCache(str(self.state / FOLDER))
        local = LocalSide(os.fsencode(self.here), cache)
        remote = RemoteSide(self.agent, "vm", os.fsencode(self.there), cache)
        source, target = (local, remote) if self.upload else (remote, local)
        record = RecordFile(self.state, str(self.source), str(self.target))
        with record.lock(Deadline(10)):
            return Sync(source, target, record, SyncOptions(delete, force, compares_modes), self).run()

    def scanning(self) -> None:
        self.before("scanning")

    def hashed(self, where: str, done: int, total: int) -> None:
        self.hashed_bytes = total

    def confirm(self, files: int, size: int, *, is_first: bool) -> None:
        self.before("confirm")
        self.confirmed.append((files, size, is_first))

    def removing(self, count: int) -> None:
        self.before("removing")

    def transfer(self, items: Sequence[Item], expected: Mapping[bytes, ScanRow | None]) -> list[ItemFailure]:
        self.before("transfer")
        here, there = os.fsencode(self.here), os.fsencode(self.there)
        transfer = Transfer(
            self.agent, local_root=here, remote_root=there, deadline=Deadline(60), expected=expected,
            on_progress=lambda size, files: self.before("progress"),
        )  # fmt: skip
        return transfer.upload(items) if self.upload else transfer.download(items)

    def checking(self) -> None:
        self.before("checking")

    def check_cancelled(self) -> None:
        pass


def contents(root: Path) -> dict[bytes, tuple[int, bytes]]:
    """The permissions and the content, or where a link points, of all below a folder."""
    found = {}
    top = os.fsencode(root)
    for folder, folders, files in os.walk(top):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                value = b"to " + os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    value = b"file " + file.read()
            else:
                value = b"folder"
            mode = 0 if stat.S_ISLNK(status.st_mode) else stat.S_IMODE(status.st_mode)
            found[os.path.relpath(path, top)] = (mode, value)
    return found
