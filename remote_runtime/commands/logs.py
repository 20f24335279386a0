"""`logs`: reads the keeper's log, or Jupyter's through the keeper's connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from ..core.errors import LocalError, from_dict
from ..core.sanitize import clean
from ..state import ipc, log_file, store

MAX_LINES = 100
POLL_INTERVAL_S = 1.0
ANSWER_TIMEOUT_S = 20.0


def read_log(
    name: str,
    *,
    server: bool,
    follow: bool,
    state: store.StateDir,
    stop: threading.Event,
    lines: int = MAX_LINES,
    since: datetime | None = None,
) -> Iterator[str]:
    """Yields the last ``lines``, without secrets; with ``follow`` also new ones until ``stop`` is set. ``since``: only
    newer ones, of the background process's log. Raises ``LocalError`` ``not-up``."""
    if server:
        yield from _server_lines(name, lines, follow, state, stop)
        return
    path = state.file_path(name, "log")
    if not path.exists():
        raise LocalError("not-up", f"No log of {name}", "it was never started here")
    offset = path.read_bytes().rfind(b"\n") + 1  # an incomplete last line is yielded once it is complete
    yield from log_file.tail(path, lines) if since is None else _newer_lines(path, since)[-lines:] if lines else ()
    if follow:
        yield from _follow(path, offset, stop)


def _newer_lines(path: Path, since: datetime) -> list[str]:
    """Also those of rotated files. Lines without a time, such as of a traceback, belong to the one before them."""
    old = [path.with_name(f"{path.name}.{number}") for number in range(log_file.MAX_OLD_LOGS, 0, -1)]
    found, is_newer = [], False
    for line in (line for each in (*old, path) for line in log_file.tail(each, log_file.MAX_LOG_BYTES)):
        entry = log_file.parse_line(line)
        is_newer = is_newer if entry is None else entry.time >= since
        found += [line] if is_newer else []
    return found


def _follow(path: Path, offset: int, stop: threading.Event) -> Iterator[str]:
    while not stop.wait(POLL_INTERVAL_S):
        try:
            with path.open("rb") as file:
                offset = offset if offset <= path.stat().st_size else 0  # it was rotated
                file.seek(offset)
                text = file.read()
        except FileNotFoundError:
            offset = 0  # it is being rotated
            continue
        complete, _, _ = text.rpartition(b"\n")
        if complete:
            offset += len(complete) + 1
            yield from (clean(log_file.redact(line), 2000) for line in complete.decode(errors="replace").splitlines())


def _server_lines(name: str, lines: int, follow: bool, state: store.StateDir, stop: threading.Event) -> Iterator[str]:
    offset: int | None = None
    while True:
        new_lines, offset = _request_server_log(name, lines, offset, state)
        yield from new_lines
        if not follow or stop.wait(POLL_INTERVAL_S):
            return


def _request_server_log(name: str, lines: int, offset: int | None, state: store.StateDir) -> tuple[list[str], int]:
    if not store.is_alive(state, name):
        raise LocalError("not-up", f"{name} is down", "", "`remote-runtime up PROFILE` starts it")
    message = {"op": "server-log", "offset": offset, "lines": lines}
    event = ipc.request(state, name, message, ANSWER_TIMEOUT_S)
    if event["event"] == "failed":
        raise from_dict(event["error"])
    return list(event["lines"]), int(event["offset"])
