"""A login at a machine: run commands, connect to its ports, check that the connection lives."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Callable

import paramiko

from ..core.access import SshServerAddress
from ..core.callbacks import RunCommand
from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, HealthError, RemoteRuntimeError, SshError
from ..core.model import format_address
from ..core.sanitize import clean_line
from ..tunnel.identity import ServerIdentity
from ..tunnel.single_connection import forward_over, open_socket, relay_in_background
from .command import run_command
from .connect_request import ConnectRequest
from .files.known_hosts import HostKey
from .forwarder.channel_pool import ChannelPool
from .forwarder.connection import OPEN_TIMEOUT_S
from .server_address import ServerAddress
from .streams.client_streams import ClientStreams
from .streams.link import StreamLink
from .streams.stream_forwarder import StreamForwarder
from .transport.channel import TransportChannel
from .transport.server_text import KeyOptions
from .transport.stream import ChannelStream
from .transport.transport import Transport

_ADMINISTRATIVELY_PROHIBITED = 1  # RFC 4254 5.1
_CONNECT_FAILED = 2
_MIN_LOGIN_S = 15.0
_JOIN_TIMEOUT_S = 20.0
_TICK_S = 0.1


class Session:
    """The login at a machine that ``request`` asked for. ``host_key``: the machine's; ``how_known``: as
    ``HostKeyPolicy.check`` returned. ``key``: the one that was accepted. ``close`` ends the connection and all that it
    forwards, then calls ``release``."""

    def __init__(
        self,
        transport: Transport,
        request: ConnectRequest,
        *,
        host_key: HostKey,
        how_known: str,
        key: paramiko.PKey | None,
        release: Callable[[], None],
    ) -> None:
        self.request = request
        self.instance = request.instance
        self.user = request.user
        self.host_key = host_key
        self._how_known = how_known
        self.key = key
        self._transport = transport
        self._release = release
        self._silent_agent = request.keys.silent_agent
        self.run: RunCommand = functools.partial(run_command, transport)
        self._server_address = ServerAddress(self.run)
        self._timeout_s = max(_MIN_LOGIN_S, request.deadline.timeout_s)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        return not self._transport.active

    @property
    def why_closed(self) -> str:
        """Empty while the session is open."""
        return self._transport.close_reason()

    @property
    def silent_s(self) -> float:
        """For how long nothing was received."""
        return self._transport.packetizer.silent_s

    def notify_closed(self, call: Callable[[], None]) -> None:
        """Call it in another thread once the connection is lost or closed; at once if it is."""
        self._transport.packetizer.notify_ended(call)

    @property
    def is_fast(self) -> bool:
        """Whether it has channel pools: the server offers AES-GCM."""
        return self._transport.loop is not None

    def login_facts(self) -> dict[str, str]:
        """``host-key``: how it is known, and the key; ``login``: the user and key; ``agent``: if it did not answer."""
        with_key = f", with the key {self.key.get_name()} {self.key.fingerprint}" if self.key else ", without a key"
        facts = {
            "host-key": f"{self._how_known}: {self.host_key.kind} {self.host_key.fingerprint}",
            "login": f"as {self.user}{with_key}",
        }
        if self._silent_agent:
            facts["agent"] = f"the SSH agent at {self._silent_agent} does not answer"
        return facts

    def close(self, why: str = "closed here") -> None:
        self._transport.close(why)
        self._release()

    def check(self, within_s: float) -> float:
        """The round-trip time in milliseconds. Raises ``SshError`` ``ssh-unreachable`` if nothing is received for
        ``within_s``; the session should be closed then."""
        return 1000 * self._transport.round_trip_s(within_s)

    def ssh_server(self, deadline: Deadline) -> SshServerAddress | None:
        """Where this login was accepted; None if the server does not say. Raises as ``run``."""
        found = self._server_address.find(deadline)
        return found and SshServerAddress(*found, f"{self.host_key.kind} {self.host_key.data}")

    def dial(self, host: str, port: int, *, within_s: float) -> ChannelStream:
        """A connection from the machine to ``host``:``port`` as it sees them; with port 0, to the unix socket whose
        path is ``host``.

        Raises ``HealthError`` ``not-answering``, ``SshError`` ``ssh-refused`` or ``ssh-unreachable``.
        """
        where = f"{format_address(host, port)} on the machine"
        try:
            channel = self._transport.open(_channel_type(port), Deadline(within_s), (host, port))
        except DeadlinePassed as error:
            raise HealthError(
                "not-answering", f"{where} does not respond", f"no response within {within_s:g} s"
            ) from error
        if channel.refusal is None:
            return ChannelStream(channel)
        raise _refused_error(where, *channel.refusal, self._transport.key_options)

    def channel_pool(self, host: str, port: int, *, identity: ServerIdentity | None) -> ChannelPool | None:
        """A forwarder of connections to ``host``:``port`` of the machine (see ``dial``), None if the server offers no
        AES-GCM. Raises ``SshError`` ``ssh-unreachable``.
        """
        if not self.is_fast:
            return None
        self.enable_nodelay()
        return self.local_channel_pool(host, port, identity=identity)

    def stream_forwarder(
        self, host: str, port: int, identity: ServerIdentity, streams: ClientStreams
    ) -> StreamForwarder | None:
        """A forwarder of connections to Jupyter at ``host``:``port`` of the machine (see ``dial``) as ``streams``,
        which use this session from now on. None if this session or that server does not support it.

        Raises ``HealthError`` ``stranger-answered`` or ``not-answering``, ``SshError`` ``ssh-unreachable``.
        """
        loop = self._transport.loop
        if loop is None:
            return None
        self.enable_nodelay()
        link = StreamLink(
            loop, host, port, identity, open_error=self._open_error(host, port), lost_error=self._transport.lost_error
        )
        forwarder = StreamForwarder(streams, link)
        return forwarder if streams.connect(link, Deadline(_JOIN_TIMEOUT_S)) else None

    def _open_error(self, host: str, port: int) -> Callable[[int, str], RemoteRuntimeError]:
        where = f"{format_address(host, port)} on the machine"
        return lambda reason, text: _refused_error(where, reason, clean_line(text, 200), self._transport.key_options)

    def local_channel_pool(
        self, host: str, port: int, *, identity: ServerIdentity | None, open_timeout_s: float = OPEN_TIMEOUT_S
    ) -> ChannelPool:
        """A pool on this connection, which must be fast."""
        loop = self._transport.loop
        if loop is None:
            raise ValueError("only a fast session has channel pools")
        return ChannelPool(
            loop,
            host,
            port,
            identity=identity,
            open_error=self._open_error(host, port),
            lost_error=self._transport.lost_error,
            open_timeout_s=open_timeout_s,
        )

    def enable_nodelay(self, deadline: Deadline | None = None) -> None:
        """sshd sets TCP_NODELAY when it runs the first command; before that every exchange takes 40 ms more."""
        if not self._transport.has_run_command:
            self.run(["true"], stdin=b"", on_line=lambda line: None, deadline=deadline or Deadline(self._timeout_s))

    def open_jump(self, host: str, port: int, deadline: Deadline) -> socket.socket | TransportChannel:
        """A connection from this jump host to the next: a socket where this session is fast, else a channel.

        Raises ``RemoteRuntimeError``: refused, lost, or ``DeadlinePassed``.
        """
        if not self.is_fast:
            channel = self._transport.open("direct-tcpip", deadline, (host, port))
            if channel.refusal is not None:
                raise _refused_error(f"{host}:{port}", *channel.refusal, self._transport.key_options)
            return channel
        with contextlib.suppress(RemoteRuntimeError):  # a jump host that runs no command is slower
            self.enable_nodelay(deadline.within(deadline.remaining_s() / 2))
        return open_socket(self.forward_socket, host, port, within_s=deadline.remaining_s())

    def forward_socket(self, sock: socket.socket, host: str, port: int, *, within_s: float) -> None:
        """Connect ``sock`` to ``host``:``port`` of the machine (see ``dial``), over a channel of its own. The socket is
        this session's from now on, also if that fails. Raises as ``dial``, and ``DeadlinePassed``."""
        if not self.is_fast:
            try:
                stream = self.dial(host, port, within_s=within_s)
            except BaseException:
                sock.close()
                raise
            relay_in_background(sock, stream, lambda: self.closed)
            return
        pool = self.local_channel_pool(host, port, identity=None, open_timeout_s=within_s)
        try:
            forward_over(pool, sock, Deadline(within_s + _TICK_S), f"opening {format_address(host, port)}")
        finally:
            pool.drain()

    def shell(self, command: str | None) -> int:
        """An interactive shell on this process's terminal, or ``command`` with its streams; the exit status.

        255 when the connection is lost, 128 + N when signal N ended it. Raises ``SshError``.
        """
        from .shell import run_shell

        return run_shell(self._transport, command, Deadline(self._timeout_s))


def _channel_type(port: int) -> str:
    return "direct-tcpip" if port else "direct-streamlocal@openssh.com"


def _refused_error(where: str, reason: int, text: str, options: KeyOptions) -> RemoteRuntimeError:
    if reason == _CONNECT_FAILED:
        why = text[:1].lower() + text[1:] or "the connection failed"
        return HealthError("not-answering", f"{where} does not respond", why)
    hint = ""
    if reason == _ADMINISTRATIVELY_PROHIBITED:
        text, hint = _forwarding_prohibited(options)
    return SshError("ssh-refused", f"The SSH server refused to connect to {where}", text, hint)


def _forwarding_prohibited(options: KeyOptions) -> tuple[str, str]:
    """Why, and a hint."""
    if options.forbids_forwarding:
        why = f"{options.location} forbids forwarding for this key (restrict, no-port-forwarding)"
        return why, "Add `port-forwarding` to the options there, or set `ssh.identity_file` to another key"
    if options.limits_destinations:
        why = f"{options.location} allows this key only the destinations of its permitopen"
        return why, "Set `jupyter.port` to a port that it allows, or `ssh.identity_file` to another key"
    why = "its configuration forbids forwarding (AllowTcpForwarding, AllowStreamLocalForwarding, PermitOpen)"
    return why, "Set `AllowTcpForwarding yes` in its sshd_config"
