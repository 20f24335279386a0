"""`sync`: makes a folder like another one, of which one is on the machine of a profile."""

from __future__ import annotations

import contextlib
import os
import posixpath
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..core.deadline import Deadline
from ..core.errors import UsageError
from ..core.fast_dataclass import fast_dataclass
from ..core.profile import Profile
from ..core.sanitize import clean_line
from ..files.agent import Agent, open_agent
from ..files.endpoint import FileEndpoint, parse_copy
from ..files.items import Item, ItemFailure
from ..files.remote.names import to_text
from ..files.remote.rows import ScanRow
from ..files.remote.scan_cache import ScanCache
from ..files.sync_plan import SyncOptions
from ..files.sync_record import RecordFile, local_side
from ..files.sync_run import Sync, SyncOutcome
from ..files.sync_sides import LocalSide, RemoteSide, SyncSide
from ..files.transfer import Transfer
from .context import CommandContext
from .cp import COPY_TIMEOUT_S, MAX_PATH_CHARS, CopyProgress
from .machine import Machine, open_machine
from .profile_reference import load_profile

ASK_ABOVE_BYTES = 1 << 30
MIN_HASH_SHOWN_BYTES = 64 << 20
OnProgress = Callable[[CopyProgress], None]


@fast_dataclass(frozen=True)
class SyncRequest:
    """``name``: of the profile. ``ask_above_bytes``: a first sync that copies more asks before."""

    name: str
    source: FileEndpoint
    target: FileEndpoint
    delete: bool
    force: bool
    yes: bool
    ask_above_bytes: int = ASK_ABOVE_BYTES

    @property
    def is_upload(self) -> bool:
        return self.source.name is None


@fast_dataclass(frozen=True)
class SyncResult:
    """Paths as they are, with surrogates for what is not UTF-8, sorted. ``kept`` and ``failed``: with the reason."""

    name: str
    copied: tuple[str, ...]
    bytes: int
    deleted: tuple[str, ...]
    modes: tuple[str, ...]
    kept: Mapping[str, str]
    failed: Mapping[str, str]
    synced: int

    def as_document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "copied": list(self.copied),
            "bytes": self.bytes,
            "deleted": list(self.deleted),
            "modes": list(self.modes),
            "kept": [{"path": path, "why": why} for path, why in self.kept.items()],
            "failed": [{"path": path, "why": why} for path, why in self.failed.items()],
            "synced": self.synced,
        }


def parse_sync(source: str, target: str, *, delete: bool, force: bool, yes: bool) -> SyncRequest:
    """Raises ``UsageError``."""
    froms, to = parse_copy([source], target)
    name = to.name or froms[0].name or ""
    return SyncRequest(name, froms[0], to, delete, force, yes)


def sync(request: SyncRequest, context: CommandContext, on_progress: OnProgress) -> SyncResult:
    """One sync. What could not be read or written is in ``failed``.

    Raises ``UsageError`` ``sync-source-missing``, ``sync-source-empty``, ``sync-not-confirmed``,
    ``sync-target-unusable``, ``ignore-file-invalid``; ``LocalError`` ``sync-running``, ``folder-unreadable``; and as
    ``copy``."""
    profile = load_profile(request.name, context)
    with open_machine(profile, context) as machine, open_sync(request, machine, profile, context, on_progress) as work:
        return work.run()


@contextlib.contextmanager
def open_sync(
    request: SyncRequest, machine: Machine, profile: Profile, context: CommandContext, on_progress: OnProgress
) -> Iterator[OpenSync]:
    """With an agent, by which the two folders can be synced again and again."""
    name, python = profile.name, profile.jupyter.python
    deadline = context.deadline(COPY_TIMEOUT_S)
    progress = context.progress(name)
    progress.step(f"Comparing {_shown(str(request.source))} with {_shown(str(request.target))}")
    with open_agent(machine, python=python, progress=progress, deadline=deadline) as agent:
        yield OpenSync(request, name, agent, context, deadline, on_progress)


class OpenSync:
    """``run`` is a sync, ``files.sync_run.Steps`` its steps."""

    def __init__(
        self,
        request: SyncRequest,
        name: str,
        agent: Agent,
        context: CommandContext,
        deadline: Deadline,
        on_progress: OnProgress,
    ) -> None:
        self._request, self._name, self._agent = request, name, agent
        self._context, self._deadline, self._on_progress = context, deadline, on_progress
        here = request.source if request.is_upload else request.target
        there = request.target if request.is_upload else request.source
        self._local_root, self._remote_root = os.path.abspath(here.path_bytes), there.path_bytes
        # Named as far as they are known without the machine.
        sides = [local_side(here.path), f"{name}:{_normal(there.path)}"]
        self._record = RecordFile(context.state.path, *(sides if request.is_upload else sides[::-1]))
        cache = ScanCache(str(self._record.folder))
        local, remote = LocalSide(self._local_root, cache), RemoteSide(agent, name, self._remote_root, cache)
        self.source: SyncSide = local if request.is_upload else remote
        self._target: SyncSide = remote if request.is_upload else local
        self._last: Sync | None = None

    def run(self) -> SyncResult:
        """Raises as ``sync``."""
        options = SyncOptions(self._request.delete, self._request.force, compares_modes=sys.platform != "win32")
        with self._record.lock(self._deadline):
            last = Sync(self.source, self._target, self._record, options, self)
            outcome = last.run()
        self._last = last
        self._context.view.done(self._name)
        return _result(self._name, outcome)

    def has_changed(self) -> bool:
        """Whether the source differs from what the last ``run`` found."""
        if self._last is None or self._last.source_scan is None:
            return True
        last, now = self._last.source_scan, self.source.scan(self._last.patterns, lambda done, total: None)
        if last.stamp and last.stamp == now.stamp:
            return False
        return _contents(last.rows) != _contents(now.rows)

    def scanning(self) -> None:
        """``open_sync`` says so."""

    def hashed(self, where: str, done: int, total: int) -> None:
        if total > MIN_HASH_SHOWN_BYTES:
            self._context.view.detail(self._name, f"reading the {where}, {done * 100 // total} %")

    def confirm(self, files: int, size: int, *, is_first: bool) -> None:
        if not is_first or size <= self._request.ask_above_bytes or self._request.yes:
            return
        what = f"The first sync of these folders copies {size / (1 << 30):.1f} GB in {_files(files)}"
        view = self._context.view
        if not view.confirm(self._name, f"{what}. Continue?"):
            why = "the question was not answered with yes" if view.interactive else "stdin is not a terminal"
            raise UsageError("sync-not-confirmed", what, why)

    def removing(self, count: int) -> None:
        self._context.view.step(self._name, f"Removing {_files(count)} from {_shown(str(self._request.target))}")

    def transfer(self, items: Sequence[Item], expected: Mapping[bytes, ScanRow | None]) -> list[ItemFailure]:
        files = [item for item in items if item.kind == "file"]
        size = sum(item.size for item in files)
        self._context.view.step(self._name, f"Copying {_files(len(files))} to {_shown(str(self._request.target))}")
        transfer = Transfer(
            self._agent,
            local_root=self._local_root,
            remote_root=self._remote_root,
            deadline=self._deadline,
            on_progress=lambda done, count: self._on_progress(CopyProgress(done, count, size, len(files))),
            expected=expected,
        )
        return (transfer.upload if self._request.is_upload else transfer.download)(items)

    def checking(self) -> None:
        self._context.view.step(self._name, "Comparing what was copied")

    def check_cancelled(self) -> None:
        self._deadline.check()


def _result(name: str, outcome: SyncOutcome) -> SyncResult:
    return SyncResult(
        name,
        tuple(map(to_text, outcome.copied)),
        outcome.copied_bytes,
        tuple(map(to_text, outcome.deleted)),
        tuple(map(to_text, outcome.modes)),
        {to_text(path): outcome.kept[path] for path in sorted(outcome.kept)},
        {to_text(path): clean_line(outcome.failed[path], MAX_PATH_CHARS) for path in sorted(outcome.failed)},
        outcome.synced,
    )


def _contents(rows: Mapping[bytes, ScanRow]) -> dict[bytes, tuple[int, bytes]]:
    return {path: (row.mode, row.value) for path, row in rows.items()}


def _normal(path: str) -> str:
    """A path of the machine; relative to the home folder if it can be."""
    path = posixpath.normpath(path or ".")
    return path[2:] if path.startswith("~/") else "." if path == "~" else path


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _shown(text: str) -> str:
    return clean_line(text.encode("utf-8", "backslashreplace").decode(), MAX_PATH_CHARS)
