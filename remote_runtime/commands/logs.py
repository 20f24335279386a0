"""`logs`: the keeper's log here, or with ``--server`` Jupyter's log on the machine, through the keeper's connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from ..core.deadline import Deadline
from ..core.errors import LocalError, from_dict
from ..core.sanitize import clean
from ..state import ipc, log_file, store

LINES = 100
EVERY_S = 1.0
ANSWER_S = 20.0


def read(name: str, *, server: bool, follow: bool, state: store.StateDir, stop: threading.Event) -> Iterator[str]:
    """Lines, without secrets. With ``follow`` until ``stop`` is set. Raises ``LocalError`` ``not-up``."""
    if server:
        yield from _server_lines(name, follow, state, stop)
        return
    path = state.of(name, "log")
    if not path.exists():
        raise LocalError("not-up", f"There is no log of {name}", "it was never brought up here")
    at = path.read_bytes().rfind(b"\n") + 1  # a line that is being written is told once it is whole
    yield from log_file.tail(path, LINES)
    if follow:
        yield from _follow(path, at, stop)


def _follow(path: Path, at: int, stop: threading.Event) -> Iterator[str]:
    while not stop.wait(EVERY_S):
        try:
            with path.open("rb") as file:
                at = at if at <= path.stat().st_size else 0  # it was rotated
                file.seek(at)
                text = file.read()
        except FileNotFoundError:
            at = 0  # it is being rotated
            continue
        whole, _, _ = text.rpartition(b"\n")
        if whole:
            at += len(whole) + 1
            yield from (clean(log_file.redacted(line), 2000) for line in whole.decode(errors="replace").splitlines())


def _server_lines(name: str, follow: bool, state: store.StateDir, stop: threading.Event) -> Iterator[str]:
    offset: int | None = None
    while True:
        lines, offset = _ask(name, offset, state)
        yield from lines
        if not follow or stop.wait(EVERY_S):
            return


def _ask(name: str, offset: int | None, state: store.StateDir) -> tuple[list[str], int]:
    if not store.is_alive(state, name):
        raise LocalError("not-up", f"{name} is down", "", f"`remote-runtime up {name}` brings it up")
    with ipc.connected(state, name, Deadline(ANSWER_S)) as channel:
        channel.send({"op": "server-log", "offset": offset, "lines": LINES})
        event = channel.receive(ANSWER_S)
    if event is None:
        raise LocalError("keeper-unresponsive", f"The background process of {name} does not answer")
    if event["event"] == "failed":
        raise from_dict(event["error"])
    return list(event["lines"]), int(event["offset"])
