"""`cp`: copies files to or from the machine of a profile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from ..core.fast_dataclass import fast_dataclass
from ..core.sanitize import clean_line
from ..files import copy_plan
from ..files.agent import Agent, open_agent
from ..files.copy_plan import CopyPlan, CopySource
from ..files.endpoint import FileEndpoint, parse_copy
from ..files.pipeline import MAX_CONNECTIONS
from ..files.transfer import Transfer, connection_count
from .context import CommandContext
from .machine import open_machine
from .profile_reference import load_profile

COPY_TIMEOUT_S = 30 * 86400.0
MAX_PATH_CHARS = 300
DOWNLOAD_CONNECTIONS = 4


@fast_dataclass(frozen=True)
class CopyProgress:
    """What has been copied, of what there is."""

    bytes: int
    files: int
    all_bytes: int
    all_files: int


@fast_dataclass(frozen=True)
class FailedPath:
    """A path that was not copied, and why; both are safe to show."""

    path: str
    why: str


@fast_dataclass(frozen=True)
class CopyResult:
    """``name``: of the profile. ``seconds``: of the transfer alone."""

    name: str
    files: int
    bytes: int
    seconds: float
    failed: tuple[FailedPath, ...]


def copy(
    sources: Sequence[str],
    target: str,
    context: CommandContext,
    *,
    recursive: bool,
    resume: bool = False,
    on_progress: Callable[[CopyProgress], None] = lambda progress: None,
) -> CopyResult:
    """Copy ``sources`` to ``target``; one side has the form NAME:PATH. Files that can't be copied are in ``failed``.

    Raises ``UsageError`` ``usage``, ``profile-not-found``, ``target-folder-missing``; ``MachineError`` ``unsafe-name``
    before anything is written; and as ``open_machine`` and ``open_agent``."""
    froms, to = parse_copy(sources, target)
    name = to.name or froms[0].name or ""
    profile = load_profile(name, context)
    local = copy_plan.local_sources(froms) if to.name else []
    deadline = context.deadline(COPY_TIMEOUT_S)
    progress = context.progress(profile.name)
    with open_machine(profile, context) as machine:
        progress.step(f"Copying {'to' if to.name else 'from'} {profile.name}")
        python = profile.jupyter.python
        with open_agent(machine, python=python, progress=progress, deadline=deadline) as agent:
            agent.prepare(_likely_connections(local))
            if to.name:
                plan = copy_plan.plan_upload(local, copy_plan.remote_target(agent, to, local), recursive=recursive)
            else:
                plan = _plan_download(agent, froms, to, recursive=recursive)
            files = [item for item in plan.items if item.kind == "file"]
            all_bytes = sum(item.size for item in files)
            done = [0, 0]

            def report(size: int, count: int) -> None:
                done[:] = size, count
                on_progress(CopyProgress(size, count, all_bytes, len(files)))

            local_root, remote_root = (os.fsencode(os.getcwd()), plan.root) if to.name else (plan.root, b"")
            transfer = Transfer(
                agent,
                local_root=local_root,
                remote_root=remote_root,
                deadline=deadline,
                on_progress=report,
                resume=resume,
            )
            begun_at = time.monotonic()
            failures = [*plan.failures, *(transfer.upload if to.name else transfer.download)(plan.items)]
            took_s = time.monotonic() - begun_at
        progress.view.done(profile.name)
    failed = tuple(FailedPath(_shown(failure.item.source), failure.why) for failure in failures)
    return CopyResult(profile.name, done[1], done[0], took_s, failed)


def _likely_connections(local: Sequence[CopySource]) -> int:
    """How many are worth being opened while the files are listed: what a download takes is not known before."""
    if not local:
        return DOWNLOAD_CONNECTIONS
    has_folders = any(source.entry.kind == "folder" for source in local)
    return MAX_CONNECTIONS if has_folders else connection_count(sum(each.entry.size for each in local), len(local))


def _plan_download(agent: Agent, froms: Sequence[FileEndpoint], to: FileEndpoint, *, recursive: bool) -> CopyPlan:
    found = copy_plan.remote_sources(agent, froms)
    return copy_plan.plan_download(agent, found, copy_plan.local_target(to, found), recursive=recursive)


def _shown(path: bytes) -> str:
    return clean_line(path.decode("utf-8", "backslashreplace"), MAX_PATH_CHARS)
