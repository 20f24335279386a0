"""The open resources of a runtime: bound ports, SSH session, forwarders, keepalive thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..core.metrics import Connections, StreamStatus, Traffic
from ..core.model import Forward, Instance, Runtime, Server
from ..core.profile import ForwardSettings, Profile
from ..jupyter import health
from ..ssh.streams.client_streams import ClientStreams
from ..targets import TargetSession
from ..tunnel import ports
from ..tunnel.keepalive import Keepalive
from ..tunnel.network_change import NetworkChangeDetector
from ..tunnel.port_forwarder import PortForwarder
from .lookup import BackgroundLookup
from .upstream import OpenUpstream

log = logging.getLogger(__name__)


@dataclass
class Resources:
    """They survive a reconnect, each until it is found unusable.

    ``instance``, ``server``: where the connection ends. ``unix_sockets_work``: False once the machine's SSH server
    refused to connect to a unix socket. ``exposure_reason``: why another program of this computer may have received
    the server's token, which is then replaced; empty if none can have. ``connect_count``: how often a connection was
    made; ``server_connect_count``: its value when the server was last found. ``restart_reason``: why Jupyter had to be
    started again, until it is reported. ``preferred_port``: the local port to try first, until it is reported.
    ``forwards``: those that are open. ``streams``: connections to Jupyter that outlive the session. ``on_change`` is
    called, in any thread, when one of them may have become unusable, when the background look-up has its result, and
    when a client comes after a rest.
    """

    forwarder: PortForwarder | None = None
    extra_forwarders: list[PortForwarder] = field(default_factory=list)
    instance: Instance | None = None
    session: TargetSession | None = None
    keepalive: Keepalive | None = None
    upstream: OpenUpstream | None = None
    server: Server | None = None
    unix_sockets_work: bool = True
    lookup: BackgroundLookup = field(default_factory=BackgroundLookup)
    exposure_reason: str = ""
    connect_count: int = 0
    server_connect_count: int = 0
    restart_reason: str = ""
    preferred_port: int | None = None
    forwards: tuple[Forward, ...] = ()
    streams: ClientStreams = field(default_factory=ClientStreams)
    on_change: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.lookup.on_result = self.on_change

    @classmethod
    def following(cls, runtime: Runtime, on_change: Callable[[], None]) -> Resources:
        """Those of a keeper that follows one which was killed: its session replaces that one's."""
        return cls(streams=ClientStreams(runtime.stream_key), on_change=on_change)

    def bind_ipv6(self) -> bool:
        """Listen on [::1] too, if this computer has it by now. Returns True if another program listens there: a page
        that connects to localhost sends it the token."""
        for forwarder in self.forwarders():
            was_taken = forwarder.ipv6_taken_by
            forwarder.listen_on_ipv6()
            if forwarder.ipv6_taken_by and not was_taken:
                log.warning("[::1]:%d: %s", forwarder.port, forwarder.ipv6_taken_by)
                if forwarder is self.forwarder:
                    self.exposure_reason = f"browsers try [::1]:{forwarder.port} first, and {forwarder.ipv6_taken_by}"
                    self.streams.close(self.exposure_reason)
                    self.reset_forwarding()
                    return True
        return False

    def reset_forwarding(self) -> None:
        """Reset the open connections that can't be resumed; new ones wait."""
        for forwarder in self.forwarders():
            forwarder.disconnect()

    def pause_forwarding(self) -> None:
        """New connections wait; open ones stay."""
        for forwarder in self.forwarders():
            forwarder.pause()

    def disconnect(self) -> None:
        """Close the session and what uses it. The local ports stay bound; new connections wait."""
        self.lookup.close()
        self.reset_forwarding()
        if self.keepalive is not None:
            self.keepalive.stop()
        upstream, session, self.upstream, self.session = self.upstream, self.session, None, None
        for each in (upstream, session):
            if each is not None:
                each.close()

    def close(self, why: str = "the runtime was stopped") -> None:
        """``why``: the reason for which open connections are reset."""
        self.streams.close(why)
        self.disconnect()
        for forwarder in self.forwarders():
            forwarder.close()
        self.forwarder, self.extra_forwarders, self.forwards = None, [], ()

    def take_lookup_result(self) -> Instance | None:
        """The instance that the background look-up found; returned once."""
        result = self.lookup.take_result()
        if isinstance(result, Instance):
            return result
        if result is not None:
            log.info("connected at the last address; the look-up failed: %s", result)
        return None

    def attach_session(self, session: TargetSession, keepalive_s: float, address: str) -> None:
        self.session = session
        self.connect_count += 1
        session.notify_closed(self.on_change)
        self.keepalive = Keepalive(session, keepalive_s, lambda: NetworkChangeDetector(address), self.on_change)

    def on_continued(self) -> None:
        """This process was stopped, and runs again. For signal handlers: takes no lock."""
        if self.keepalive is not None:
            self.keepalive.on_continued()

    @property
    def tells_changes(self) -> bool:
        """Whether ``on_change`` reports all; what it does not must be polled."""
        return self.upstream is None or self.upstream.tells_end

    @property
    def is_in_use(self) -> bool:
        """Whether a client of Jupyter's port is connected, or one was a short while ago."""
        return self.forwarder is not None and self.forwarder.stats.is_in_use

    def is_connected(self) -> bool:
        return self.session is not None and not self.session.closed

    def connections(self) -> Connections:
        return self.forwarder.stats.counted() if self.forwarder else Connections()

    def ignore_connection_from(self, port: int) -> None:
        """Do not count the connection from this local port: a check opened it."""
        if self.forwarder is not None:
            self.forwarder.stats.ignore_from(port)

    def traffic(self) -> Traffic:
        return self.forwarder.stats.traffic() if self.forwarder else Traffic()

    def stream_status(self) -> StreamStatus | None:
        """None if open connections end with the session."""
        return self.streams.status()

    def stream_facts(self) -> dict[str, Any]:
        """Fields of the ``Runtime``."""
        return {"streams": self.streams.status(), "stream_key": self.streams.key}

    def check_ports(self, settings: ForwardSettings) -> None:
        """Whether ``settings`` can replace those of the bound ports. Raises ``LocalError`` ``port-in-use``."""
        bound_ports = [forwarder.port for forwarder in self.forwarders()]
        if not (self.forwarder is not None and ports.accepts(settings.local_port, self.forwarder.port)):
            ports.check(settings.local_port)
        for extra in settings.extra:
            if extra.local_port not in bound_ports:
                ports.check(extra.local_port)

    def is_listening(self) -> bool:
        return all(forwarder.alive for forwarder in self.forwarders())

    def forwarders(self) -> list[PortForwarder]:
        return [*self.extra_forwarders, *([self.forwarder] if self.forwarder else [])]


def endpoint(port: int, server: Server, profile: Profile, forwarder: PortForwarder | None) -> health.Endpoint:
    """The endpoint of the health checks. ``forwarder``: if this process has it, they are not counted as clients."""
    connect = forwarder.stats.connect_uncounted if forwarder else None
    return health.Endpoint(port, server.token, profile.colab.origins, connect, server if server.attached else None)
