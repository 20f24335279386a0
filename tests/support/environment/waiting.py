"""Waiting for a fact of another process, and for a port that is free."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(probe: Callable[[], T | None], *, within_s: float = 30.0, what: str = "") -> T:
    """The first true answer of ``probe``; a failure names ``what`` and the last answer."""
    until = time.monotonic() + within_s
    while True:
        answer = probe()
        if answer or time.monotonic() > until:
            assert answer, f"{what or probe} not within {within_s} s: {answer!r}"
            return answer
        time.sleep(0.02)


def free_port() -> int:
    """A local port that no other test's `auto` takes while nobody listens on it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
