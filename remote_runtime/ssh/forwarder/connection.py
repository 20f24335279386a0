"""A channel to a port of the machine, proved if need be, and the one local connection that it then serves."""

from __future__ import annotations

import selectors
import socket
import time
from typing import Protocol

from ...core.errors import HealthError, RemoteRuntimeError
from ...core.model import named
from .channel import Channel, Desk
from .client import Client, Proof
from .final_output import part
from .packet_writer import PIECE_BYTES, SLOTS, Slots
from .write_buffer import Inward

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_LINGER_S = 5.0
_OPENING_S = 15.0


class Floor(Desk, Protocol):
    """What the loop does for its flows."""

    slots: Slots

    def may_send(self) -> bool: ...
    def when_it_may(self, flow: Flow) -> None: ...
    def post_what_was_read(self, peer: int, count: int) -> None: ...
    def watch(self, flow: Flow, sock: socket.socket, before: int, events: int) -> None: ...
    def mark(self, flow: Flow) -> None: ...


class Owner(Protocol):
    """The lane that a flow belongs to."""

    host: str
    port: int

    def on_ready(self, flow: Flow) -> None: ...
    def on_refused(self, flow: Flow, reason: int, text: str) -> None: ...
    def on_failed(self, flow: Flow, error: RemoteRuntimeError) -> None: ...
    def on_stale(self, client: Client) -> None: ...
    def on_over(self, flow: Flow) -> None: ...


class Flow:
    """Only the loop's thread uses it. First it opens its channel and proves who listens, then it waits for a client
    (``is_ready``), then it serves that ``client``."""

    def __init__(self, floor: Floor, owner: Owner, proof: Proof | None) -> None:
        self.client: Client | None = None
        self.is_ready = False
        self.since = time.monotonic()
        self._floor = floor
        self._owner = owner
        self._proof = proof
        self._inward = Inward()
        self._unsent = b""
        self._pieces = 1
        self._watched = 0
        self._ended_here = self._shut = self._left = False
        self._lingers_until: float | None = None
        self._channel = Channel(floor, self, owner.host, owner.port)

    # ── what its lane asks of it

    def begin(self, client: Client) -> None:
        """Serve this client, beginning with what it said in vain before."""
        self.client, self.is_ready = client, False
        self._unsent = client.said or b""
        if not client.chances:
            client.said = None
        client.guest.began()
        if self._unsent:
            self._send_unsent()
        self._read()

    def end(self) -> None:
        """The link is lost, or it is not needed any more: reset the client after what had come, close the channel."""
        self.is_ready = False
        client, self.client = self.client, None
        if client is not None:
            self._watch(client, 0)
            part(client, self._inward.rest(), whole=self._channel.ended_there or self._channel.closed_there)
        self._dismiss()

    def check(self, now: float) -> None:
        """Whether what has a limit in time is over it."""
        if (
            self.client is None
            and not self.is_ready
            and now - self.since > _OPENING_S
            and not self._channel.closed_here
        ):
            what = f"{named(self._owner.host, self._owner.port)} on the machine does not answer"
            self._fail(HealthError("not-answering", what, f"nothing within {_OPENING_S:.0f} s"))
        elif self._lingers_until is not None and now > self._lingers_until:
            self._dismiss()

    # ── what its channel tells

    def on_opened(self) -> None:
        if self._proof is None:
            self._become_ready()
        else:
            self._unsent = self._proof.request
            self._send_unsent()

    def on_refused(self, reason: int, text: str) -> None:
        self._owner.on_refused(self, reason, text)

    def on_data(self, content: memoryview) -> None:
        if self.client is not None:
            self.client.said = None
            self._inward.take(content)
            self._floor.mark(self)
        elif self.is_ready or self._proof is None:
            self._dismiss()  # what it says before it is asked is meant for nobody
        else:
            self._channel.credit(len(content))
            self._prove(self._proof, bytes(content))

    def on_room(self) -> None:
        self._send_unsent()
        self.update()

    def on_end(self) -> None:
        client = self.client
        if client is not None and client.said is not None and not self._ended_here:
            # The channel waited, and its end gave it up before it answered anything: the client gets another one.
            self._watch(client, 0)
            self.client = None
            client.chances -= 1
            self._channel.close()
            self._owner.on_stale(client)
        elif client is not None:
            self._floor.mark(self)
        elif self.is_ready or self._proof is None:
            self._dismiss()
        else:
            self._fail(self._proof.cut_short())

    def on_left(self) -> None:
        self._left = True
        self._over()

    def _prove(self, proof: Proof, content: bytes) -> None:
        try:
            proved = proof.feed(content)
        except RemoteRuntimeError as error:
            self._fail(error)
            return
        if proved:
            self._become_ready()

    def _become_ready(self) -> None:
        self.is_ready = True
        self.since = time.monotonic()
        self._owner.on_ready(self)

    def _fail(self, error: RemoteRuntimeError) -> None:
        self._channel.close()
        self._owner.on_failed(self, error)

    # ── from the channel to the client

    def deliver(self) -> None:
        """Give the local reader what has come, and its end after that."""
        client = self.client
        if client is None:
            self._inward.drop()
            return
        try:
            if self._inward.waiting:
                delivered = self._inward.deliver(client.sock)
                self._channel.credit(delivered)
                client.guest.carries(0, delivered)
            there = self._channel
            if (there.ended_there or there.closed_there) and not self._inward.waiting:
                self._pass_the_end_on(client)
        except OSError:
            self._dismiss(reset=True)
        if self._inward.waiting or self._watched != _READ:  # most often, nothing waits and nothing changes
            self.update()

    def _pass_the_end_on(self, client: Client) -> None:
        # A channel may close without an end of its data before (RFC 4254 5.3); asyncssh does.
        if not self._shut:
            self._shut = True
            client.sock.shutdown(socket.SHUT_WR)
        if self._shut and self._ended_here:
            self._dismiss()
        elif self._channel.closed_there and self._lingers_until is None:
            # Closing a socket with unread input would reset it, and what it was sent last could be lost.
            self._lingers_until = time.monotonic() + _LINGER_S

    # ── from the client to the channel

    def act(self, events: int) -> None:
        """The client's socket is ready for these."""
        if events & _WRITE:
            self.deliver()
        if events & _READ and self._lingers_until is not None:
            self._read_away()
        elif events & _READ:
            self._read()

    def _read(self) -> None:
        """Little at a time until the client shows that it has much to say."""
        client, channel, floor = self.client, self._channel, self._floor
        if client is None or not self._wants_to_read() or not floor.may_send():
            self.update()
            return
        pieces = self._pieces if channel.piece == PIECE_BYTES else 1
        try:
            count = floor.slots.read(client.sock, channel.room, pieces, channel.piece)
        except (BlockingIOError, InterruptedError):
            self.update()
            return
        except OSError:
            self._dismiss(reset=True)
            return
        if count == 0:
            self._end_here()
        elif not (client.has_spoken or client.begins(floor.slots.content(1))):
            self._dismiss()
            return
        else:
            client.guest.carries(count, 0)
            if client.said is not None:
                client.note(floor.slots.content(count))
            channel.room -= count
            floor.post_what_was_read(channel.peer, count)
            if count < PIECE_BYTES:
                self._pieces = 1
            elif count >= pieces * PIECE_BYTES:
                self._pieces = SLOTS
        self.update()

    def _end_here(self) -> None:
        self._ended_here = True
        if self._shut:
            self._dismiss()  # both ends are done, which the channel's CLOSE says
        else:
            self._channel.send_end()

    def _read_away(self) -> None:
        try:
            if self.client is None or self.client.sock.recv(PIECE_BYTES):
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass  # it has left, which is what was waited for
        self._dismiss()

    def _send_unsent(self) -> None:
        if self._unsent:
            self._unsent = self._unsent[self._channel.send(self._unsent) :]

    def _wants_to_read(self) -> bool:
        return self._channel.room > 0 and not self._ended_here and not self._unsent

    def update(self) -> None:
        """Watch the client's socket for what can be done with it now, which may be more than before."""
        client = self.client
        if client is None:
            return
        events = _WRITE if self._inward.waiting else 0
        if self._lingers_until is not None:
            events |= _READ
        elif self._wants_to_read():
            if self._floor.may_send():
                events |= _READ
            else:
                self._floor.when_it_may(self)
        self._watch(client, events)

    def _watch(self, client: Client, events: int) -> None:
        before = self._watched
        if events != before:
            self._watched = events
            self._floor.watch(self, client.sock, before, events)

    def _dismiss(self, *, reset: bool = False) -> None:
        """Part with the client, and with the channel."""
        client, self.client = self.client, None
        if client is not None:
            self._watch(client, 0)
            client.reset() if reset else client.close()
        self._inward.drop()
        self._channel.close()
        self._over()

    def _over(self) -> None:
        self.is_ready = self.is_ready and not self._channel.closed_here
        if self._left and self.client is None:
            self._owner.on_over(self)
