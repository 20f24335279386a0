"""What the launcher says: one line each, a random marker and a JSON object. Login files print things too."""

from __future__ import annotations

import json
import os
import select
import time
from typing import Any, TextIO

TICK_INTERVAL_S = 1.0
YES = b"yes\n"
NO = b"no\n"


class ReportedError(Exception):
    """An expected failure, in the words and codes of the client's ``MachineError``."""

    def __init__(self, code: str, what: str, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.error = {"code": code, "what": what, "why": why, "hint": hint}


class ClientGone(Exception):
    """Nobody listens any more: the connection to the client is gone."""


class ReplyWriter:
    """The way back to the client. Every method raises ``Hung`` when nobody listens any more."""

    def __init__(self, marker: str, stream: TextIO, within_s: float) -> None:
        self._marker = marker
        self._stream = stream
        self._ends_at = time.monotonic() + within_s
        self._last_sent_at = 0.0

    def remaining_s(self) -> float:
        """Seconds that the client still waits, never negative."""
        return max(0.0, self._ends_at - time.monotonic())

    def progress(self, text: str) -> None:
        self._send({"say": text})

    def sleep(self, seconds: float) -> None:
        """Sleep; and say something about once a second, because only a failing write shows that the client left."""
        if time.monotonic() - self._last_sent_at > TICK_INTERVAL_S:
            self._send({"tick": round(self.remaining_s(), 1)})
        time.sleep(max(0.0, min(seconds, self.remaining_s())))

    def ask_can_forward(self, address: int | str) -> None:
        """Ask the client whether the SSH server leads to ``place``, a port of 127.0.0.1 or a unix socket."""
        self._send({"reach": address})

    def read_answer(self, within_s: float) -> bool | None:
        """Its answer; None when none came in that time."""
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
