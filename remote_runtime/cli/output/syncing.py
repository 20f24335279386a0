"""What a sync did, and what it left as it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...commands.cp import MAX_PATH_CHARS
from ...commands.sync import SyncResult
from ...core.sanitize import clean_line
from . import console, format

MAX_LISTED = 20


def show_synced(result: SyncResult, *, quiet: bool) -> None:
    """On stderr: the files are the answer. With ``quiet`` only what is not as in the source."""
    if not quiet:
        console.say(_summary(result))
    _list("Kept on the target", result.kept)
    for line in _listed(result.failed):
        console.warn(line)


def _summary(result: SyncResult) -> str:
    done = []
    if result.copied:
        done.append(f"copied {_paths(len(result.copied))} ({format.size(result.bytes)})")
    if result.modes:
        done.append(f"set the permissions of {_paths(len(result.modes))}")
    if result.deleted:
        done.append(f"deleted {_paths(len(result.deleted))}")
    if not done:
        return f"Nothing to copy: {_paths(result.synced)} the same on both sides"
    text = ", ".join(done)
    return text[0].upper() + text[1:]


def _list(title: str, paths: Mapping[str, str]) -> None:
    if paths:
        console.say(f"{title}:")
        for line in _listed(paths):
            console.say(f"  {line}")


def _listed(paths: Mapping[str, str]) -> Iterable[str]:
    for path, why in list(paths.items())[:MAX_LISTED]:
        yield f"{_shown(path)}: {why}"
    if len(paths) > MAX_LISTED:
        yield f"… and {len(paths) - MAX_LISTED} more; --json lists them all"


def _paths(count: int) -> str:
    return "1 path" if count == 1 else f"{count} paths"


def _shown(path: str) -> str:
    return clean_line(path.encode("utf-8", "backslashreplace").decode(), MAX_PATH_CHARS)
