"""What every connection of one run shares, and a failure of one of them that need not be the last word."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ..core.callbacks import Progress, Prompt
from ..core.deadline import Deadline
from ..core.errors import SshError
from ..core.fast_dataclass import fast_dataclass
from .auth.keys import AgentTimeouts, Keys
from .connectors import Connector

# A try to reconnect is one of many: a port that is silent, and an agent, are asked again by the next one.
RECONNECT_TIMEOUT_S = 15.0
_AGENT_TIMEOUT_S = 2.0
_LOCKED_AGENT_TIMEOUT_S = 15.0
_REPORT_AFTER_S = 3.0
_REPORT_EVERY_S = 5.0


@fast_dataclass(frozen=True)
class ConnectOptions:
    """``wanted``: public halves of the keys that the machine knows. ``reach``: connects to its port. ``answer_by``:
    until then its port, and its server's greeting, may be silent. ``reconnect``: nobody waits at the terminal."""

    pins: Path
    keys: Keys
    ask: Prompt
    tell: Progress
    environ: Mapping[str, str]
    wanted: tuple[bytes, ...]
    reach: Connector | None
    answer_by: Deadline
    reconnect: bool = False

    def connect_by(self) -> Deadline:
        """Until when a connection to an address may take."""
        return self.answer_by.within(RECONNECT_TIMEOUT_S) if self.reconnect else self.answer_by

    def agent_timeouts(self) -> AgentTimeouts:
        if self.reconnect:
            return AgentTimeouts(min(_AGENT_TIMEOUT_S, self.answer_by.remaining_s()))
        return AgentTimeouts(
            _AGENT_TIMEOUT_S, min(_LOCKED_AGENT_TIMEOUT_S, self.answer_by.remaining_s() / 2), self.tell
        )


class WaitProgress:
    """Called often while something is waited for, it tells so after some seconds, and then every few. ``what``: for
    what, in words."""

    def __init__(self, progress: Progress, describe: Callable[[], str], deadline: Deadline) -> None:
        self._progress = progress
        self._describe = describe
        self._within_s = deadline.timeout_s
        self._started_at = time.monotonic()
        self._next_report_at = self._started_at + _REPORT_AFTER_S

    def __call__(self) -> None:
        now = time.monotonic()
        if now >= self._next_report_at:
            self._next_report_at = now + _REPORT_EVERY_S
            self._progress(f"Waiting for {self._describe()}, {now - self._started_at:.0f} s of {self._within_s:.0f} s")


class RetryableError(Exception):
    """Perhaps later. ``error`` is what to raise when there is no later."""

    def __init__(self, kind: str, error: SshError, why: str = "") -> None:
        super().__init__(error.why)
        self.kind = kind
        self.why = why or error.why
        self.error = error
