"""Waiting for a fact of another process, and for a port that is free."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE_S = 0.02


def eventually(probe: Callable[[], T | None], *, within_s: float = 30.0, what: str = "") -> T:
    """The first true answer of ``probe``; a failure names ``what`` and the last answer. A probe that takes long, such
    as a command, is tried less often: what it asks about needs the processor too."""
    until = time.monotonic() + within_s
    while True:
        began = time.monotonic()
        answer = probe()
        ended = time.monotonic()
        if answer or ended > until:
            assert answer, f"{what or probe} not within {within_s} s: {answer!r}"
            return answer
        time.sleep(max(PAUSE_S, ended - began))


def free_port() -> int:
    """A local port that no other test's `auto` takes while nobody listens on it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
