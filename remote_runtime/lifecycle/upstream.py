"""The ways from here to where Jupyter listens on the machine: over the one SSH connection, or through sshtunnel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from .. import ssh
from ..core.callbacks import Tell
from ..core.deadline import Deadline
from ..core.errors import HealthError, SshError
from ..core.frozen import dataclass
from ..core.model import Instance, Profile, Server
from ..core.profile import LocalTarget
from ..targets.gce import Machines, Session
from ..tunnel.identity import Proof, Stream
from ..tunnel.relay import Lane, Way

DIAL_S = 15.0
SOCKET_S = 10.0


class OpenWay(Way, Protocol):
    """A way that can be closed, and branched to another place on the machine. ``at``: see ``model.named``."""

    @property
    def at(self) -> tuple[str, int]: ...
    def to(self, host: str, port: int) -> Way: ...
    def close(self) -> None: ...


def open_way(
    profile: Profile,
    machines: Machines,
    instance: Instance,
    session: Session,
    at: tuple[str, int],
    *,
    tell: Tell,
    deadline: Deadline,
) -> OpenWay:
    """The way the profile's ``forward.engine`` asks for; ``tell`` hears what it cannot do. Raises ``SshError``."""
    if leads_to_sockets(profile):
        if not session.is_fast and not isinstance(profile.target, LocalTarget):
            _without_lanes(profile, tell)
        return SessionWay(session, *at)
    if at[1] == 0:
        tell("sshtunnel reaches no unix socket, where Jupyter listens until the next `down` and `up`: not used now")
        return SessionWay(session, *at)
    tell("sshtunnel logs in a second time, keeps no connections ready, and reaches no unix sockets")
    tunnel = ssh.open_sshtunnel(
        instance,
        machines.ssh_settings(profile),
        session=session,
        remote_port=at[1],
        keys=machines.keys,
        tell=tell,
        deadline=deadline.shorter(profile.timeouts.ssh_s),
        reach=machines.reach(profile, instance),
    )
    return TunnelWay(tunnel, session, at)


def _without_lanes(profile: Profile, tell: Tell) -> None:
    why = "the SSH server offers no AES-GCM"
    if profile.forward.engine == "fast":
        raise SshError("ssh-refused", "The fast engine cannot be used here", why, "`forward.engine: auto`")
    tell(f"Forwarding more slowly than usual: {why}")


def leads_to_sockets(profile: Profile) -> bool:
    """Whether ``open_way`` can lead to a unix socket."""
    return profile.forward.engine != "sshtunnel" or isinstance(profile.target, LocalTarget)


def answers(session: Session, server: Server, *, within_s: float) -> bool:
    """Whether something listens where Jupyter did, and is reached."""
    try:
        place = (server.socket, 0) if server.socket else ("127.0.0.1", server.port or 0)
        session.dial(*place, within_s=within_s).close()
    except (HealthError, SshError):
        return False
    return True


def leads_to(session: Session, place: str | int) -> bool:
    """Whether a unix socket, or a port, at which something listens on the machine is reached. OpenSSH's words for
    "forbidden" and "not there" are the same, so it is asked when it must be there. False for a socket only.

    Raises ``HealthError``, ``SshError``: a port that is not reached; the connection is lost."""
    try:
        at = (place, 0) if isinstance(place, str) else ("127.0.0.1", place)
        session.dial(*at, within_s=SOCKET_S).close()
    except (HealthError, SshError) as error:
        if error.code == "ssh-unreachable" or isinstance(place, int):
            raise
        return False
    return True


@dataclass(frozen=True)
class SessionWay:
    """A channel of the one authenticated connection for each local connection. ``plain``: without the fast engine."""

    session: Session
    host: str
    port: int
    plain: bool = False

    @property
    def at(self) -> tuple[str, int]:
        return self.host, self.port

    @property
    def closed(self) -> bool:
        return self.session.closed

    def dial(self) -> Stream:
        return self.session.dial(self.host, self.port, within_s=DIAL_S)

    def lane(self, prove: Callable[[], Proof] | None) -> Lane | None:
        if self.plain:
            return None
        return self.session.lane(self.host, self.port, prove=prove, keep_ready=prove is not None)

    def to(self, host: str, port: int) -> SessionWay:
        return SessionWay(self.session, host, port, self.plain)

    def close(self) -> None:
        """The session is its owner's to close."""


@dataclass(frozen=True)
class TunnelWay:
    """sshtunnel's private loopback port, on a login of its own; other ports of the machine use the session."""

    tunnel: ssh.Tunnel
    session: Session
    at: tuple[str, int]

    @property
    def closed(self) -> bool:
        return self.tunnel.closed

    def dial(self) -> Stream:
        return self.tunnel.dial()

    def lane(self, prove: Callable[[], Proof] | None) -> None:
        """sshtunnel has a thread for each connection."""

    def to(self, host: str, port: int) -> SessionWay:
        return SessionWay(self.session, host, port, plain=True)

    def close(self) -> None:
        self.tunnel.close()
