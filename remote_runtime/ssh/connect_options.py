"""What every connection of one run shares, and a failure of one of them that need not be the last word."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ..core.callbacks import Ask, Tell
from ..core.deadline import Deadline
from ..core.errors import SshError
from ..core.frozen import dataclass
from .auth.keys import AgentWait, Keys
from .reach import Reach

# A try to reconnect is one of many: a port that is silent, and an agent, are asked again by the next one.
RECONNECT_S = 15.0
_AGENT_S = 2.0
_LOCKED_AGENT_S = 15.0
_TELL_AFTER_S = 3.0
_TELL_EVERY_S = 5.0


@dataclass(frozen=True)
class Entry:
    """``wanted``: public halves of the keys that the machine knows. ``reach``: connects to its port. ``answer_by``:
    until then its port, and its server's greeting, may be silent. ``reconnect``: nobody waits at the terminal."""

    pins: Path
    keys: Keys
    ask: Ask
    tell: Tell
    environ: Mapping[str, str]
    wanted: tuple[bytes, ...]
    reach: Reach | None
    answer_by: Deadline
    reconnect: bool = False

    def connect_by(self) -> Deadline:
        """Until when a connection to an address may take."""
        return self.answer_by.shorter(RECONNECT_S) if self.reconnect else self.answer_by

    def agent_wait(self) -> AgentWait:
        if self.reconnect:
            return AgentWait(min(_AGENT_S, self.answer_by.remaining_s()))
        return AgentWait(_AGENT_S, min(_LOCKED_AGENT_S, self.answer_by.remaining_s() / 2), self.tell)


class Waiting:
    """Called often while something is waited for, it tells so after some seconds, and then every few. ``what``: for
    what, in words."""

    def __init__(self, tell: Tell, what: Callable[[], str], deadline: Deadline) -> None:
        self._tell = tell
        self._what = what
        self._within_s = deadline.within_s
        self._began = time.monotonic()
        self._next = self._began + _TELL_AFTER_S

    def __call__(self) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _TELL_EVERY_S
            self._tell(f"Waiting for {self._what()}, {now - self._began:.0f} s of {self._within_s:.0f} s")


class NotYet(Exception):
    """Perhaps later. ``error`` is what to raise when there is no later."""

    def __init__(self, trouble: str, error: SshError, why: str = "") -> None:
        super().__init__(error.why)
        self.trouble = trouble
        self.why = why or error.why
        self.error = error
