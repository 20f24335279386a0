"""A request to connect to a machine, and a failure after which another attempt may succeed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ..core.callbacks import Progress, Prompt
from ..core.deadline import Deadline
from ..core.errors import SshError
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Instance
from ..core.profile import SshSettings
from .auth.key_files import parse_public_key
from .auth.keys import AgentTimeouts, Keys
from .connectors import Connector
from .files.paths import local_username

_RECONNECT_TIMEOUT_S = 15.0
_AGENT_TIMEOUT_S = 2.0
_LOCKED_AGENT_TIMEOUT_S = 15.0
_REPORT_AFTER_S = 3.0
_REPORT_EVERY_S = 5.0


@fast_dataclass(frozen=True)
class ConnectRequest:
    """``pins``: the known_hosts file of this program, created when needed. ``keys``: what was unlocked before, so
    that a reconnect needs no prompt. ``accepted_keys``: ``TYPE BASE64`` of the keys that the machine accepts, which are
    offered first.
    ``connector``: opens the connection to its SSH port where TCP does not reach it. ``respond_by``: how long its port
    may stay silent; once it has answered, the login may take until ``deadline``. ``reconnect``: one of many attempts in
    the background, so neither a silent port nor a silent agent is waited for long. ``jumps``: the number of jump
    hosts in the chain so far."""

    instance: Instance
    settings: SshSettings
    deadline: Deadline
    pins: Path
    keys: Keys
    prompt: Prompt
    progress: Progress
    environ: Mapping[str, str]
    respond_by: Deadline
    accepted_keys: tuple[str, ...] = ()
    connector: Connector | None = None
    reconnect: bool = False
    jumps: int = 0

    @property
    def user(self) -> str:
        """The login name. Raises ``SshError`` ``ssh-config-unsupported`` where there is none."""
        user = self.settings.user or local_username()
        if not user:
            what = "No login name"
            raise SshError(
                "ssh-config-unsupported", what, "this computer has no user name for your account", "Set `ssh.user`"
            )
        return user

    @property
    def accepted_blobs(self) -> tuple[bytes, ...]:
        return tuple(parse_public_key(line) for line in self.accepted_keys)

    def connect_by(self) -> Deadline:
        """The deadline for a TCP connection."""
        return self.respond_by.within(_RECONNECT_TIMEOUT_S) if self.reconnect else self.respond_by

    def agent_timeouts(self) -> AgentTimeouts:
        left_s = self.respond_by.remaining_s()
        if self.reconnect:
            return AgentTimeouts(min(_AGENT_TIMEOUT_S, left_s))
        return AgentTimeouts(_AGENT_TIMEOUT_S, min(_LOCKED_AGENT_TIMEOUT_S, left_s / 2), self.progress)


class WaitProgress:
    """To be called often during a wait: reports it after ``_REPORT_AFTER_S``, then every ``_REPORT_EVERY_S``.
    ``describe`` returns what is waited for."""

    def __init__(self, progress: Progress, describe: Callable[[], str], deadline: Deadline) -> None:
        self._progress = progress
        self._describe = describe
        self._timeout_s = deadline.timeout_s
        self._started_at = time.monotonic()
        self._next_report_at = self._started_at + _REPORT_AFTER_S

    def __call__(self) -> None:
        now = time.monotonic()
        if now >= self._next_report_at:
            self._next_report_at = now + _REPORT_EVERY_S
            self._progress(f"Waiting for {self._describe()}, {now - self._started_at:.0f} s of {self._timeout_s:.0f} s")


class RetryableError(Exception):
    """Another attempt may succeed. ``error``: to raise when there is none. ``kind``: a ``FailureKind``, ``hung up``
    (the server closed the connection), ``no key`` (it accepted none), ``not now`` (it is busy), or ``too soon`` (its
    penalties outlast the deadline). ``why``: for a progress message."""

    def __init__(self, kind: str, error: SshError, why: str = "") -> None:
        super().__init__(error.why)
        self.kind = kind
        self.why = why or error.why
        self.error = error
