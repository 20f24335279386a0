"""Where the local ports are forwarded to: an address on the machine, through the SSH session or through sshtunnel."""

from __future__ import annotations

from typing import ClassVar, Protocol

from .. import ssh
from ..core.callbacks import Progress
from ..core.deadline import Deadline
from ..core.errors import HealthError, SshError
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Server
from ..core.profile import Profile
from ..ssh.streams.client_streams import ClientStreams
from ..targets import Target, TargetSession
from ..tunnel.identity import ServerIdentity, Stream
from ..tunnel.protocols import Forwarder, Upstream

DIAL_TIMEOUT_S = 15.0
PROBE_TIMEOUT_S = 10.0


class OpenUpstream(Upstream, Protocol):
    """An upstream that is to be closed. ``address``: see ``core.model.format_address``. ``sibling``: the same for
    another address on the machine. ``tells_end``: the session's end is its end, else ``closed`` has to be polled."""

    tells_end: ClassVar[bool]

    @property
    def address(self) -> tuple[str, int]: ...
    def sibling(self, host: str, port: int) -> Upstream: ...
    def close(self) -> None: ...


def open_upstream(
    target: Target,
    session: TargetSession,
    address: tuple[str, int],
    streams: ClientStreams,
    *,
    progress: Progress,
    deadline: Deadline,
) -> OpenUpstream:
    """As the profile's ``forward.engine`` says; ``progress`` gets what that cannot do. Raises ``SshError``."""
    if supports_unix_sockets(target):
        if not session.is_fast and target.uses_ssh:
            _check_fast_engine(target.profile, progress)
        return SessionUpstream(session, *address, streams=streams)
    if address[1] == 0:
        progress("sshtunnel can't forward to Jupyter's Unix socket; it is used after the next `down` and `up`")
        return SessionUpstream(session, *address)
    progress("sshtunnel logs in a second time, can't forward to Unix sockets, and resets open connections in an outage")
    within = deadline.within(target.profile.timeouts.ssh_s)
    tunnel = ssh.open_sshtunnel(session, *address, progress=progress, deadline=within)
    return SshtunnelUpstream(tunnel, session, address)


def _check_fast_engine(profile: Profile, progress: Progress) -> None:
    why = "the SSH server offers no AES-GCM"
    if profile.forward.engine == "fast":
        raise SshError("ssh-refused", "`forward.engine: fast` requires AES-GCM", why, "Set `forward.engine: auto`")
    progress(f"Forwarding is slower than usual, and an outage resets open connections: {why}")


def supports_unix_sockets(target: Target) -> bool:
    """Whether ``open_upstream`` can forward to a unix socket."""
    return target.profile.forward.engine != "sshtunnel" or not target.uses_ssh


def is_listening(session: TargetSession, server: Server, *, within_s: float) -> bool:
    """Whether the server's address on the machine accepts connections."""
    try:
        session.dial(*server.address, within_s=within_s).close()
    except (HealthError, SshError):
        return False
    return True


def can_reach(session: TargetSession, path_or_port: str | int) -> bool:
    """Whether the session can connect to a unix socket, or a port, on which something listens on the machine. False for
    a socket only. OpenSSH gives the same error for a socket without permission and for one that is not there,
    so this must be called while something listens.

    Raises ``HealthError``, ``SshError``: a port that cannot be reached; the connection is lost.
    """
    try:
        address = (path_or_port, 0) if isinstance(path_or_port, str) else ("127.0.0.1", path_or_port)
        session.dial(*address, within_s=PROBE_TIMEOUT_S).close()
    except (HealthError, SshError) as error:
        if error.code == "ssh-unreachable" or isinstance(path_or_port, int):
            raise
        return False
    return True


@fast_dataclass(frozen=True)
class SessionUpstream:
    """A channel of the SSH session for each local connection, or one of ``streams`` where the server supports them.
    ``plain``: without the fast engine."""

    session: TargetSession
    host: str
    port: int
    plain: bool = False
    streams: ClientStreams | None = None
    tells_end: ClassVar[bool] = True

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    @property
    def closed(self) -> bool:
        return self.session.closed

    def dial(self) -> Stream:
        return self.session.dial(self.host, self.port, within_s=DIAL_TIMEOUT_S)

    def open_forwarder(self, identity: ServerIdentity | None) -> Forwarder | None:
        if self.plain:
            return None
        if identity is not None and self.streams is not None:
            forwarder = self.session.stream_forwarder(self.host, self.port, identity, self.streams)
            if forwarder is not None:
                return forwarder
        return self.session.channel_pool(self.host, self.port, identity=identity)

    def sibling(self, host: str, port: int) -> SessionUpstream:
        return SessionUpstream(self.session, host, port, self.plain)

    def close(self) -> None:
        """The session stays open."""


@fast_dataclass(frozen=True)
class SshtunnelUpstream:
    """sshtunnel's loopback port, on a login of its own. Siblings use the session."""

    tunnel: ssh.SshtunnelForwarder
    session: TargetSession
    address: tuple[str, int]
    tells_end: ClassVar[bool] = False

    @property
    def closed(self) -> bool:
        return self.tunnel.closed

    def dial(self) -> Stream:
        return self.tunnel.dial()

    def open_forwarder(self, identity: ServerIdentity | None) -> None:
        """None: sshtunnel runs a thread for each connection."""

    def sibling(self, host: str, port: int) -> SessionUpstream:
        return SessionUpstream(self.session, host, port, plain=True)

    def close(self) -> None:
        self.tunnel.close()
