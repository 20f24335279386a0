"""A machine that was entered: run commands there, reach its ports, see whether it is still there."""

from __future__ import annotations

import contextlib
import queue
import socket
from collections.abc import Callable, Sequence
from typing import Literal

import paramiko

from ..core.callbacks import Outcome
from ..core.deadline import Deadline, wait_until
from ..core.errors import DeadlinePassed, HealthError, RemoteRuntimeError, SshError
from ..core.model import Instance, named
from ..core.sanitize import clean_line
from .command import run_command
from .extra_connections import Relief, Side
from .files.known_hosts import HostKey
from .forwarder.channel_pool import Lane
from .forwarder.client import Proof
from .transport.channel import LinkChannel
from .transport.key_options import KeyOptions
from .transport.stream import ChannelStream
from .transport.transport import Link

_ADMINISTRATIVELY_PROHIBITED = 1  # RFC 4254 5.1
_CONNECT_FAILED = 2
_LEAST_S = 15.0
_TICK_S = 0.1


class Session:
    """``instance``: the machine as it was reached. ``user``: whom the machine knows us as. ``host_key``: the one that
    was verified. ``key``: the one that was accepted. Closing it ends the connection and everything that was reached
    through it. ``again``: logs in once more in the same way, without a question; None where that may need one.
    ``within_s``: what the login was given, and a further login or a shell is given too."""

    def __init__(
        self,
        link: Link,
        instance: Instance,
        *,
        user: str,
        host_key: HostKey,
        key: paramiko.PKey | None,
        release: Callable[[], None],
        again: Callable[[Deadline], Session] | None,
        keepalive_s: float,
        within_s: float,
        silent_agent: str = "",
    ) -> None:
        self.instance = instance
        self.user = user
        self.host_key = host_key
        self.key = key
        self._link = link
        self._release = release
        self._silent_agent = silent_agent
        self._ran = False
        self._within_s = max(_LEAST_S, within_s)
        self._relief = Relief(link.loop, again, keepalive_s, self._within_s) if link.loop and again else None

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

    @property
    def is_fast(self) -> bool:
        """Whether it has lanes: both ends know AES-GCM."""
        return self._link.loop is not None

    def seen(self) -> dict[str, str]:
        """Which host key was verified and whom the machine let in, in words; ``agent``: of one that did not answer."""
        with_key = f", with the key {self.key.get_name()} {self.key.fingerprint}" if self.key else ", without a key"
        seen = {
            "host-key": f"verified: {self.host_key.kind} {self.host_key.fingerprint}",
            "login": f"as {self.user}{with_key}",
        }
        if self._silent_agent:
            seen["agent"] = f"the SSH agent at {self._silent_agent} does not answer"
        return seen

    def close(self, why: str = "closed here") -> None:
        if self._relief is not None:
            self._relief.close()
        self._link.end(why)
        self._release()

    def check(self, within_s: float) -> float:
        """The round trip in milliseconds. Raises ``SshError`` ``ssh-unreachable`` after hearing nothing for
        ``within_s``; the session is then dead and should be closed."""
        return 1000 * self._link.round_trip_s(within_s)

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes,
        on_line: Callable[[str], bool | None],
        deadline: Deadline,
        reply: Callable[[], bytes | None] | None = None,
    ) -> Outcome:
        """See ``protocols.Run``."""
        self._ran = True
        return run_command(self._link, command, stdin=stdin, on_line=on_line, deadline=deadline, reply=reply)

    def dial(self, host: str, port: int, *, within_s: float) -> ChannelStream:
        """A connection from the machine to ``host``:``port`` as it sees them; with port 0, to the unix socket whose
        path is ``host``.

        Raises ``HealthError`` ``not-answering``, ``SshError`` ``ssh-refused`` or ``ssh-unreachable``.
        """
        where = f"{named(host, port)} on the machine"
        try:
            channel = self._link.open(_kind(port), Deadline(within_s), (host, port))
        except DeadlinePassed as error:
            raise HealthError("not-answering", f"{where} does not answer", f"nothing within {within_s:g} s") from error
        if channel.refusal is None:
            return ChannelStream(channel)
        raise _refusal(where, *channel.refusal, self._link.key_options)

    def lane(self, host: str, port: int, *, prove: Callable[[], Proof] | None, keep_ready: bool = True) -> Lane | None:
        """What carries local connections to ``host``:``port`` of the machine (see ``dial``) by itself; None when the
        server offers no AES-GCM. Each is proved first, if ``prove`` is given; some channels are kept ready for the
        next ones. When this session carries many, others are opened for those that follow, if ``again`` is given.

        Raises ``SshError`` ``ssh-unreachable``.
        """
        if not self.is_fast:
            return None
        self.end_nagle()

        relief = None
        if self._relief is not None:
            relief = Side(self._relief, host, port, prove=prove, keep_ready=keep_ready)
        return self.own_lane(host, port, prove=prove, keep_ready=keep_ready, relief=relief)

    @property
    def carried(self) -> int:
        """How many local connections its lanes carry, about."""
        return self._link.loop.carried if self._link.loop else 0

    def own_lane(
        self,
        host: str,
        port: int,
        *,
        prove: Callable[[], Proof] | None,
        keep_ready: bool,
        relief: Side | None = None,
    ) -> Lane:
        """As ``lane``, on this connection, which must be fast, and those of ``relief``."""
        loop = self._link.loop
        if loop is None:
            raise ValueError("only a fast session has lanes")
        where = f"{named(host, port)} on the machine"
        return loop.lane(
            host,
            port,
            prove=prove,
            keep_ready=keep_ready,
            explain=lambda reason, text: _refusal(where, reason, clean_line(text, 200), self._link.key_options),
            lost=self._link.lost,
            relief=relief,
        )

    def end_nagle(self, deadline: Deadline | None = None) -> None:
        """sshd delays small packets until the connection has run something; every exchange would take 40 ms more."""
        if not self._ran:
            self.run(["true"], stdin=b"", on_line=lambda line: None, deadline=deadline or Deadline(self._within_s))

    def open_hop(self, host: str, port: int, deadline: Deadline) -> socket.socket | LinkChannel:
        """A connection for the next hop: a socket where this session is fast, else a channel.

        Raises ``RemoteRuntimeError``: refused, lost, or ``DeadlinePassed``.
        """
        if not self.is_fast:
            channel = self._link.open("direct-tcpip", deadline, (host, port))
            if channel.refusal is not None:
                raise _refusal(f"{host}:{port}", *channel.refusal, self._link.key_options)
            return channel
        with contextlib.suppress(RemoteRuntimeError):  # a hop that runs nothing is a slower hop
            self.end_nagle(deadline.shorter(deadline.remaining_s() / 2))
        return self._open_socket(host, port, deadline)

    def _open_socket(self, host: str, port: int, deadline: Deadline) -> socket.socket:
        lane = self.own_lane(host, port, prove=None, keep_ready=False)
        guest = _Hop()
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        lane.carry(theirs, guest)
        try:
            error = wait_until(guest.answer, deadline, every_s=0.0, what=f"opening {host}:{port}")
            if isinstance(error, RemoteRuntimeError):
                raise error
        except BaseException:
            ours.close()
            raise
        return ours

    def shell(self, command: str | None) -> int:
        """An interactive shell on this process's terminal, or ``command`` with its streams; the exit status.

        255 when the connection is lost, 128 + N when signal N ended it. Raises ``SshError``.
        """
        from .shell import run_shell

        return run_shell(self._link, command, Deadline(self._within_s))


class _Hop:
    """The guest of a lane that waits for its channel."""

    is_ours = True

    def __init__(self) -> None:
        self._answers: queue.SimpleQueue[RemoteRuntimeError | Literal[True]] = queue.SimpleQueue()

    def answer(self) -> RemoteRuntimeError | Literal[True] | None:
        try:
            return self._answers.get(timeout=_TICK_S)
        except queue.Empty:
            return None

    def began(self) -> None:
        self._answers.put(True)

    def begins(self, word: bytes) -> bool:
        """What it says is the next hop's."""
        return True

    def crowded_out(self, *, files: bool) -> None:
        """It comes alone."""

    def carries(self, sent: int, received: int) -> None:
        """The next hop counts it."""

    def refused(self, sock: socket.socket, error: RemoteRuntimeError, *, heard: bool) -> None:
        sock.close()
        self._answers.put(error)

    def ended(self) -> None:
        """The next hop's connection ends with it."""


def _kind(port: int) -> str:
    return "direct-tcpip" if port else "direct-streamlocal@openssh.com"


def _refusal(where: str, reason: int, text: str, options: KeyOptions) -> RemoteRuntimeError:
    if reason == _CONNECT_FAILED:
        why = text[:1].lower() + text[1:] or "the connection failed"
        return HealthError("not-answering", f"{where} does not answer", why)
    hint = ""
    if reason == _ADMINISTRATIVELY_PROHIBITED:
        text, hint = _prohibition(options)
    return SshError("ssh-refused", f"The machine's SSH server does not connect to {where}", text, hint)


def _prohibition(options: KeyOptions) -> tuple[str, str]:
    """Why, and what to do."""
    if options.forbids_forwarding:
        why = f"{options.place} forbids forwarding for this key (restrict, no-port-forwarding)"
        return why, "Add `port-forwarding` to the options there, or set another key: `ssh.identity_file`"
    if options.limits_places:
        why = f"{options.place} lets this key connect to the places of its permitopen only"
        return why, "Name a port that it allows: `jupyter.port`; or set another key: `ssh.identity_file`"
    why = "its configuration forbids forwarding (AllowTcpForwarding, AllowStreamLocalForwarding, PermitOpen)"
    return why, "Its sshd_config must say `AllowTcpForwarding yes`"
