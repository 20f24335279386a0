"""Replies to the client: lines of a random marker and a JSON object. The marker separates them from what login files
print."""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from collections.abc import Iterator
from typing import Any, TextIO

TICK_INTERVAL_S = 1.0
YES = b"yes\n"
NO = b"no\n"


class ReportedError(Exception):
    """An expected failure, with a code and texts of the client's ``MachineError``."""

    def __init__(self, code: str, what: str, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.error = {"code": code, "what": what, "why": why, "hint": hint}


class ClientGone(Exception):
    """The connection to the client is lost."""


class ReplyWriter:
    """Writes replies to the client. Every method raises ``ClientGone`` when the connection is lost. ``install_s``: the
    part of ``within_s`` that only ``installing`` may use."""

    def __init__(self, marker: str, stream: TextIO, within_s: float, install_s: float = 0.0) -> None:
        self._marker = marker
        self._stream = stream
        self._ends_at = time.monotonic() + within_s - install_s
        self._install_s = install_s
        self._last_sent_at = 0.0

    def remaining_s(self) -> float:
        """Seconds that the client still waits; never negative."""
        return max(0.0, self._ends_at - time.monotonic())

    @contextlib.contextmanager
    def installing(self) -> Iterator[None]:
        """The time that an installation takes is not taken from the time that is left now, up to ``install_s``."""
        left_s, self._ends_at = self.remaining_s(), self._ends_at + self._install_s
        try:
            yield
        finally:
            self._ends_at = min(self._ends_at, time.monotonic() + left_s)

    def progress(self, text: str) -> None:
        self._send({"say": text})

    def sleep(self, seconds: float) -> None:
        """Sleep. Also writes about once a second, because only a failing write shows that the client is gone."""
        if time.monotonic() - self._last_sent_at > TICK_INTERVAL_S:
            self._send({"tick": round(self.remaining_s(), 1)})
        time.sleep(max(0.0, min(seconds, self.remaining_s())))

    def ask_can_forward(self, address: int | str) -> None:
        """Ask the client whether the SSH server forwards to ``address``, a port of 127.0.0.1 or a unix socket."""
        self._send({"reach": address})

    def read_answer(self, within_s: float) -> bool | None:
        """The client's answer; None when none came in that time."""
        try:
            ready, _, _ = select.select([0], [], [], within_s)
            line = os.read(0, 64) if ready else b""
        except (OSError, ValueError):
            return None
        return {YES: True, NO: False}.get(line)

    def result(self, result: dict[str, Any]) -> None:
        self._send({"result": result})

    def error(self, error: dict[str, str]) -> None:
        self._send({"error": error})

    def _send(self, reply: dict[str, Any]) -> None:
        self._last_sent_at = time.monotonic()
        try:
            self._stream.write(self._marker + json.dumps(reply) + "\n")
            self._stream.flush()
        except (OSError, ValueError) as exc:
            raise ClientGone(str(exc)) from exc
