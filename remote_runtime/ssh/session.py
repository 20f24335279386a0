"""A machine that was entered: run commands there, reach its ports, see whether it is still there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import paramiko

from ..errors import DeadlinePassed, HealthError, SshError
from ..model import Outcome
from ..waits import Deadline
from .channel import LinkChannel
from .command import run_command
from .known_hosts import HostKey
from .link import Link
from .stream import ChannelStream

_ADMINISTRATIVELY_PROHIBITED = 1  # RFC 4254 5.1
_CONNECT_FAILED = 2


class Session:
    """``user``: whom the machine knows us as. ``host_key``: the one that was verified. ``key``: the one that was
    accepted. Closing it ends the connection and everything that was reached through it."""

    def __init__(
        self, link: Link, *, user: str, host_key: HostKey, key: paramiko.PKey | None, release: Callable[[], None]
    ) -> None:
        self.user = user
        self.host_key = host_key
        self.key = key
        self._link = link
        self._release = release

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        return not self._link.active

    @property
    def why_closed(self) -> str:
        """Empty while it is open."""
        return self._link.why_ended()

    def close(self) -> None:
        self._link.end()
        self._release()

    def check(self, within_s: float) -> float:
        """The round trip in milliseconds. Raises ``SshError`` ``ssh-unreachable`` after hearing nothing for
        ``within_s``; the session is then dead and should be closed."""
        return 1000 * self._link.round_trip_s(within_s)

    def run(
        self, command: Sequence[str], *, stdin: bytes, on_line: Callable[[str], None], deadline: Deadline
    ) -> Outcome:
        """See ``model.Run``."""
        return run_command(self._link, command, stdin=stdin, on_line=on_line, deadline=deadline)

    def dial(self, host: str, port: int, *, within_s: float) -> ChannelStream:
        """A connection from the machine to ``host``:``port`` as it sees them.

        Raises ``HealthError`` ``not-answering``, ``SshError`` ``ssh-refused`` or ``ssh-unreachable``.
        """
        where = f"{host}:{port} on the machine"
        try:
            channel = self._link.open("direct-tcpip", Deadline(within_s), (host, port))
        except DeadlinePassed as error:
            raise HealthError("not-answering", f"{where} does not answer", f"nothing within {within_s:g} s") from error
        if channel.refusal is None:
            return ChannelStream(channel)
        reason, text = channel.refusal
        if reason == _CONNECT_FAILED:
            raise HealthError(
                "not-answering", f"{where} does not answer", text[:1].lower() + text[1:] or "the connection failed"
            )
        if reason == _ADMINISTRATIVELY_PROHIBITED:
            text = "its configuration forbids forwarding (AllowTcpForwarding, PermitOpen)"
        raise SshError("ssh-refused", f"The machine's SSH server does not connect to {where}", text)

    def open_channel(self, host: str, port: int, deadline: Deadline) -> LinkChannel:
        """For the next hop: a channel that only the caller uses. Its ``refusal`` is set when it was refused."""
        return self._link.open("direct-tcpip", deadline, (host, port))

    def shell(self, command: str | None) -> int:
        """An interactive shell on this process's terminal, or ``command`` with its streams; the exit status.

        255 when the connection is lost, 128 + N when signal N ended it. Raises ``SshError``.
        """
        from .shell import run_shell

        return run_shell(self._link, command)
