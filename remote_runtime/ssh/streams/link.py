"""The carriers of a stream session on one SSH connection: opened, counted, and replaced when one is lost."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from ...bridge.streams.protocol.carrier import Carrier
from ...bridge.streams.protocol.session import StreamSession
from ...core.errors import HealthError, RemoteRuntimeError
from ...tunnel.identity import ServerIdentity
from ..forwarder.loop import Loop
from .carrier_channel import CarrierChannel, HandshakeError
from .handshake import ClientHandshake, Refused, SessionTicket

log = logging.getLogger(__name__)
# One for small frames, four for bulk: OpenSSH accepts 2 MiB a channel and round trip; more are no faster at 100 ms, see
# docs/benchmarks.md. On a short link one for bulk is enough, and its bytes arrive in order (a third less CPU time).
CARRIERS, CARRIERS_ON_SHORT_LINK = 5, 2
_SHORT_LINK_S = 0.005
PING_INTERVAL_S = 60.0  # the server gives a client up after 150 s of silence
_RETRY_S, _MAX_RETRY_S = 0.1, 5.0
_SESSION_LOST = ("unknown-session", "wrong-secret")


class LinkOwner(Protocol):
    """The streams that a link carries. Called in the loop's thread."""

    session: StreamSession

    def next_ticket(self, *, is_first: bool) -> SessionTicket: ...
    def next_carrier(self) -> int: ...
    def on_ticket(self, ticket: SessionTicket) -> None: ...
    def on_session_lost(self, reason: str) -> None: ...
    def on_outcome(self, error: HandshakeError | None) -> None: ...
    def release(self, link: StreamLink) -> None: ...


class StreamLink:
    """Used in the loop's thread."""

    def __init__(
        self,
        loop: Loop,
        host: str,
        port: int,
        identity: ServerIdentity,
        *,
        open_error: Callable[[int, str], RemoteRuntimeError],
        lost_error: Callable[[], RemoteRuntimeError],
    ) -> None:
        self.loop = loop
        self.host = host
        self.port = port
        self.open_error = open_error
        self.lost_error = lost_error
        self.is_released = False
        self._identity = identity
        self._streams: LinkOwner | None = None
        self._opening: list[CarrierChannel] = []
        self._joined: list[CarrierChannel] = []
        self._retry_s = _RETRY_S
        self._retries = False
        self._on_released: Callable[[], None] = lambda: None

    def on_released(self, call: Callable[[], None]) -> None:
        """Call this when the link is released. For any thread, before clients are forwarded."""
        self._on_released = call

    @property
    def wanted_carriers(self) -> int:
        return CARRIERS_ON_SHORT_LINK if self.loop.rtt.min_s < _SHORT_LINK_S else CARRIERS

    def start(self, streams: LinkOwner) -> None:
        """Open the first carrier."""
        self._streams = streams
        self._open()
        self.loop.call_later(PING_INTERVAL_S, self._ping)

    def release(self) -> None:
        """Give up all carriers, and open none any more."""
        self.is_released = True
        for transport in [*self._opening, *self._joined]:
            transport.close()
        self._on_released()

    def open_now(self) -> None:
        """Try again to open the first carrier, unless that is under way."""
        if not (self._joined or self._opening or self.is_released):
            self._open()

    # ── called by the loop, see ``forwarder.loop.Pool``

    @property
    def is_finished(self) -> bool:
        return self.is_released

    def close_now(self) -> None:
        if self._streams is not None:
            self._streams.release(self)

    # ── called by the transports

    def on_joined(self, transport: CarrierChannel) -> None:
        if self._streams is None:
            raise ValueError("expected a link that was started")
        self._opening.remove(transport)
        self._joined.append(transport)
        self._retry_s = _RETRY_S
        self._streams.on_ticket(transport.handshake.ticket)
        session = self._streams.session
        session.attach(Carrier(session, transport, transport.number))
        self._streams.on_outcome(None)
        while not self.is_released and len(self._joined) + len(self._opening) < self.wanted_carriers:
            self._open()

    def on_failed(self, transport: CarrierChannel, error: HandshakeError) -> None:
        self._opening.remove(transport)
        if self.is_released or self._streams is None:
            return
        if isinstance(error, Refused) and not self._joined and error.reason in _SESSION_LOST:
            self._streams.on_session_lost(error.reason)
            self._open()
            return
        if not self._joined:
            self._streams.on_outcome(error)
        self._retry_later()

    def on_closed(self, transport: CarrierChannel) -> None:
        self._joined.remove(transport)
        if self.is_released:
            return
        if not self._joined:
            log.info("all connections for streams are lost; the SSH connection is not")
            self.open_now()
        self._retry_later()

    # ── inside

    def _open(self) -> None:
        if self._streams is None or self.is_released:
            return
        ticket = self._streams.next_ticket(is_first=not self._joined)
        handshake = ClientHandshake(self._identity, ticket, self._streams.next_carrier())
        self._opening.append(CarrierChannel(self.loop, self, handshake, handshake.carrier))

    def _retry_later(self) -> None:
        """Backs off: Jupyter may be gone, or have reached a limit."""
        if self._retries:
            return
        self._retries = True
        self.loop.call_later(self._retry_s, self._retry)
        self._retry_s = min(_MAX_RETRY_S, 2 * self._retry_s)

    def _retry(self) -> None:
        self._retries = False
        if not self.is_released and not self._opening and len(self._joined) < self.wanted_carriers:
            self._open()

    def _ping(self) -> None:
        if self.is_released or self._streams is None:
            return
        for carrier in self._streams.session.carriers[:1]:
            carrier.ping()
        self.loop.call_later(PING_INTERVAL_S, self._ping)


def as_error(error: HandshakeError) -> RemoteRuntimeError:
    """For a person."""
    if isinstance(error, RemoteRuntimeError):
        return error
    return HealthError("not-answering", "Jupyter accepts no further connections", str(error))
