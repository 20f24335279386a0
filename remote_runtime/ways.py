"""The ways from here to a port of the machine: over the one SSH connection, or through sshtunnel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from . import ssh
from .machines import Machines, Session
from .model import Instance, LocalTarget, Profile, Tell
from .tunnel.identity import Stream
from .tunnel.pump import Way
from .waits import Deadline

DIAL_S = 15.0
LOGIN_S = 60.0


class OpenWay(Way, Protocol):
    """A way that can be closed, and branched to another port of the machine."""

    @property
    def port(self) -> int: ...
    def to(self, host: str, port: int) -> Way: ...
    def close(self) -> None: ...


def open_way(
    profile: Profile,
    machines: Machines,
    instance: Instance,
    session: Session,
    port: int,
    *,
    tell: Tell,
    deadline: Deadline,
) -> OpenWay:
    """The way the profile's ``forward.engine`` asks for. Raises ``SshError``."""
    if profile.forward.engine != "sshtunnel" or isinstance(profile.target, LocalTarget):
        return SessionWay(session, "127.0.0.1", port)
    tunnel = ssh.open_sshtunnel(
        instance,
        machines.ssh_settings(profile),
        session=session,
        remote_port=port,
        keys=machines.keys,
        tell=tell,
        deadline=deadline.shorter(LOGIN_S),
    )
    return TunnelWay(tunnel, session, port)


@dataclass(frozen=True)
class SessionWay:
    """A channel of the one authenticated connection for each local connection."""

    session: Session
    host: str
    port: int

    @property
    def closed(self) -> bool:
        return self.session.closed

    def dial(self) -> Stream:
        return self.session.dial(self.host, self.port, within_s=DIAL_S)

    def to(self, host: str, port: int) -> SessionWay:
        return SessionWay(self.session, host, port)

    def close(self) -> None:
        """The session is its owner's to close."""


@dataclass(frozen=True)
class TunnelWay:
    """sshtunnel's private loopback port, on a login of its own; other ports of the machine use the session."""

    tunnel: ssh.Tunnel
    session: Session
    port: int

    @property
    def closed(self) -> bool:
        return self.tunnel.closed

    def dial(self) -> Stream:
        return self.tunnel.dial()

    def to(self, host: str, port: int) -> SessionWay:
        return SessionWay(self.session, host, port)

    def close(self) -> None:
        self.tunnel.close()
