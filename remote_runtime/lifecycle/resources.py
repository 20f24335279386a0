"""The live things of one runtime: what is open, bound and entered."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from ..core.metrics import Connections, Traffic
from ..core.model import Instance, Server
from ..core.profile import ForwardSettings, Profile
from ..jupyter import health
from ..targets import TargetSession
from ..tunnel import ports
from ..tunnel.keepalive import Keepalive
from ..tunnel.network_change import NetworkChangeDetector
from ..tunnel.port_forwarder import PortForwarder
from .last_known import BackgroundLookup
from .upstream import OpenUpstream

log = logging.getLogger(__name__)


@dataclass
class Resources:
    """The live things of one runtime. They survive repairs, each until it is found dead. ``sockets``: as far as is
    known, the machine's SSH server leads to unix sockets. ``exposed``: why another program of this computer may have
    been told the server's token, which is then replaced; empty where none can. ``entered``: how often a machine was,
    ``served``: of these, the last one when Jupyter was found. ``restarted``: why Jupyter had to be started again, told
    once."""

    forwarder: PortForwarder | None = None
    extra_forwarders: list[PortForwarder] = field(default_factory=list)
    instance: Instance | None = None
    session: TargetSession | None = None
    keepalive: Keepalive | None = None
    upstream: OpenUpstream | None = None
    server: Server | None = None
    unix_sockets_work: bool = True
    lookup: BackgroundLookup | None = None
    exposure_reason: str = ""
    connect_count: int = 0
    server_connect_count: int = 0
    restart_reason: str = ""

    def bind_ipv6(self) -> bool:
        """Listen on [::1] too, if this computer has it by now. Whether another program was found there: a page that
        asks for localhost has told it the token."""
        for forwarder in self.forwarders():
            was_taken = forwarder.ipv6_taken_by
            forwarder.listen_on_ipv6()
            if forwarder.ipv6_taken_by and not was_taken:
                log.warning("[::1]:%d: %s", forwarder.port, forwarder.ipv6_taken_by)
                if forwarder is self.forwarder:
                    self.exposure_reason = f"browsers try [::1]:{forwarder.port} first, and {forwarder.ipv6_taken_by}"
                    self.reset_forwarding()
                    return True
        return False

    def reset_forwarding(self) -> None:
        """Reset the connections under way, let new ones wait."""
        for front in self.forwarders():
            front.disconnect()

    def pause_forwarding(self) -> None:
        """Let new connections wait; those under way stay."""
        for front in self.forwarders():
            front.pause()

    def disconnect(self) -> None:
        """Drop the link; ports stay bound and hold new connections."""
        lookup, self.lookup = self.lookup, None
        if lookup is not None:
            lookup.close()
        self.reset_forwarding()
        if self.keepalive is not None:
            self.keepalive.stop()
        upstream, session, self.upstream, self.session = self.upstream, self.session, None, None
        for each in (upstream, session):
            if each is not None:
                each.close()

    def close(self) -> None:
        self.disconnect()
        for front in self.forwarders():
            front.close()
        self.forwarder, self.extra_forwarders = None, []

    def take_lookup_result(self) -> Instance | None:
        """The instance as a look-up saw it that nobody waited for; told once."""
        if self.lookup is None or self.lookup.result is None:
            return None
        result, self.lookup = self.lookup.result, None
        if isinstance(result, Instance):
            return result
        log.info("the machine was entered where it was; it was not found anew: %s", result)
        return None

    def attach_session(self, session: TargetSession, keepalive_s: float, address: str) -> None:
        self.session = session
        self.connect_count += 1
        self.keepalive = Keepalive(session, keepalive_s, lambda: NetworkChangeDetector(address))

    def is_connected(self) -> bool:
        return self.session is not None and not self.session.closed

    def endpoint(self, profile: Profile) -> health.Endpoint:
        """Where the page will knock. Raises ``ValueError`` before there is a server to lead to."""
        if self.forwarder is None or self.server is None:
            raise ValueError("the path is checked last")
        return endpoint(self.forwarder.port, self.server, profile, self.forwarder)

    def connections(self) -> Connections:
        return self.forwarder.stats.counted() if self.forwarder else Connections()

    def ignore_connection_from(self, port: int) -> None:
        """A connection of ours comes from this port, which is no visitor's."""
        if self.forwarder is not None:
            self.forwarder.stats.ignore_from(port)

    def traffic(self) -> Traffic:
        return self.forwarder.stats.traffic() if self.forwarder else Traffic()

    def check_ports(self, settings: ForwardSettings) -> None:
        """Whether these could take the place of the ports that are held. Raises ``LocalError`` ``port-in-use``."""
        bound_ports = [front.port for front in self.forwarders()]
        if not (self.forwarder is not None and ports.accepts(settings.local_port, self.forwarder.port)):
            ports.check(settings.local_port)
        for extra in settings.extra:
            if extra.local_port not in bound_ports:
                ports.check(extra.local_port)

    def is_listening(self) -> bool:
        return all(front.alive for front in self.forwarders())

    def forwarders(self) -> list[PortForwarder]:
        return [*self.extra_forwarders, *([self.forwarder] if self.forwarder else [])]


def endpoint(port: int, server: Server, profile: Profile, forwarder: PortForwarder | None) -> health.Endpoint:
    """``front``: the port's, where it is held here, so that it does not count its own keeper as a visitor."""
    connect = forwarder.stats.connect_uncounted if forwarder else None
    return health.Endpoint(port, server.token, profile.colab.origins, connect, server if server.attached else None)
