"""The live things of one runtime: what is open, bound and entered."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from ..core.metrics import Traffic
from ..core.model import Connections, Instance, Profile, Server
from ..core.profile import ForwardSettings
from ..jupyter import health
from ..targets.gce import Session
from ..tunnel import ports
from ..tunnel.keepalive import Pulse
from ..tunnel.network_change import Disturbances
from ..tunnel.port_forwarder import Front
from .last_known import LookUp
from .upstream import OpenWay

log = logging.getLogger(__name__)


@dataclass
class Held:
    """The live things of one runtime. They survive repairs, each until it is found dead. ``sockets``: as far as is
    known, the machine's SSH server leads to unix sockets. ``exposed``: why another program of this computer may have
    been told the server's token, which is then replaced; empty where none can. ``entered``: how often a machine was,
    ``served``: of these, the last one when Jupyter was found. ``restarted``: why Jupyter had to be started again, told
    once."""

    front: Front | None = None
    extras: list[Front] = field(default_factory=list)
    instance: Instance | None = None
    session: Session | None = None
    pulse: Pulse | None = None
    way: OpenWay | None = None
    server: Server | None = None
    sockets: bool = True
    look_up: LookUp | None = None
    exposed: str = ""
    entered: int = 0
    served: int = 0
    restarted: str = ""

    def complete(self) -> bool:
        """Listen on [::1] too, if this computer has it by now. Whether another program was found there: a page that
        asks for localhost has told it the token."""
        for front in self.fronts():
            before = front.taken
            front.complete()
            if front.taken and not before:
                log.warning("[::1]:%d: %s", front.port, front.taken)
                if front is self.front:
                    self.exposed = f"browsers try [::1]:{front.port} first, and {front.taken}"
                    self.hold()
                    return True
        return False

    def hold(self) -> None:
        """Reset the connections under way, let new ones wait."""
        for front in self.fronts():
            front.hold()

    def pause(self) -> None:
        """Let new connections wait; those under way stay."""
        for front in self.fronts():
            front.pause()

    def let_go(self) -> None:
        """Drop the link; ports stay bound and hold new connections."""
        look_up, self.look_up = self.look_up, None
        if look_up is not None:
            look_up.close()
        self.hold()
        if self.pulse is not None:
            self.pulse.stop()
        way, session, self.way, self.session = self.way, self.session, None, None
        for thing in (way, session):
            if thing is not None:
                thing.close()

    def close(self) -> None:
        self.let_go()
        for front in self.fronts():
            front.close()
        self.front, self.extras = None, []

    def news(self) -> Instance | None:
        """The instance as a look-up saw it that nobody waited for; told once."""
        if self.look_up is None or self.look_up.answer is None:
            return None
        answer, self.look_up = self.look_up.answer, None
        if isinstance(answer, Instance):
            return answer
        log.info("the machine was entered where it was; it was not found anew: %s", answer)
        return None

    def enter(self, session: Session, keepalive_s: float, address: str) -> None:
        self.session = session
        self.entered += 1
        self.pulse = Pulse(session, keepalive_s, lambda: Disturbances(address))

    def is_entered(self) -> bool:
        return self.session is not None and not self.session.closed

    def door(self, profile: Profile) -> health.Door:
        """Where the page will knock. Raises ``ValueError`` before there is a server to lead to."""
        if self.front is None or self.server is None:
            raise ValueError("the path is checked last")
        return door(self.front.port, self.server, profile, self.front)

    def connections(self) -> Connections:
        return self.front.visitors.counted() if self.front else Connections()

    def expect(self, port: int) -> None:
        """A connection of ours comes from this port, which is no visitor's."""
        if self.front is not None:
            self.front.visitors.expect(port)

    def traffic(self) -> Traffic:
        return self.front.visitors.traffic() if self.front else Traffic()

    def check_ports(self, wanted: ForwardSettings) -> None:
        """Whether these could take the place of the ports that are held. Raises ``LocalError`` ``port-in-use``."""
        held = [front.port for front in self.fronts()]
        if not (self.front is not None and ports.fits(wanted.local_port, self.front.port)):
            ports.check(wanted.local_port)
        for extra in wanted.extra:
            if extra.local_port not in held:
                ports.check(extra.local_port)

    def listens(self) -> bool:
        return all(front.alive for front in self.fronts())

    def fronts(self) -> list[Front]:
        return [*self.extras, *([self.front] if self.front else [])]


def door(port: int, server: Server, profile: Profile, front: Front | None) -> health.Door:
    """``front``: the port's, where it is held here, so that it does not count its own keeper as a visitor."""
    connect = front.visitors.ourselves if front else None
    return health.Door(port, server.token, profile.colab.origins, connect, server if server.attached else None)
