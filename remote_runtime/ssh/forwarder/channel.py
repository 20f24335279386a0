"""One channel as the SSH protocol sees it (RFC 4254, 5): numbers, windows, ends; who uses it is told what happens."""

from __future__ import annotations

import time
from typing import Protocol

from . import messages
from .aes_gcm import BadPacket
from .packet_writer import PIECE_BYTES
from .windows import Delay, Pool, Window


class Desk(Protocol):
    """What the loop does for its channels."""

    pool: Pool
    delay: Delay

    def enter(self, channel: Channel) -> int: ...
    def leave(self, number: int, credit: int) -> None: ...
    def post(self, message: bytes) -> None: ...


class User(Protocol):
    """Told in the loop's thread. ``on_data`` gets a view that holds until the loop's next turn."""

    def on_opened(self) -> None: ...
    def on_refused(self, reason: int, text: str) -> None: ...
    def on_data(self, content: memoryview) -> None: ...
    def on_room(self) -> None: ...
    def on_end(self) -> None: ...
    def on_left(self) -> None: ...


class Channel:
    """``room``: what the peer takes now, 0 unless the channel is open; ``piece``: of it in one message.
    ``ended_there``, ``closed_there``: the peer has said its last byte, its last word. ``closed_here``: nothing more is
    said. ``number`` is free after ``on_left``."""

    def __init__(self, desk: Desk, user: User, host: str, port: int) -> None:
        self.peer = -1
        self.room = 0
        self.piece = PIECE_BYTES
        self.ended_there = self.closed_there = self.closed_here = False
        self._desk = desk
        self._user = user
        self._window = Window(desk.pool, desk.delay)
        self._asked_at = time.monotonic()
        self._number = desk.enter(self)
        desk.post(messages.open_direct(self._number, self._window.size, PIECE_BYTES, host, port))

    @property
    def is_open(self) -> bool:
        """Whether it can carry data to the peer."""
        return self.peer >= 0 and not (self.closed_here or self.closed_there)

    def send(self, content: bytes) -> int:
        """As much of it as there is room for."""
        sent = 0
        while sent < len(content) and self.room > 0:
            piece = content[sent : sent + min(self.room, self.piece)]
            self.room -= len(piece)
            sent += len(piece)
            self._desk.post(messages.data(self.peer, piece))
        return sent

    def send_end(self) -> None:
        if self.is_open:
            self._desk.post(messages.end_of_data(self.peer))

    def credit(self, count: int) -> None:
        """The user has done with that many bytes of what came."""
        if not self.is_open or self.ended_there:
            return
        more = self._window.consumed(count)
        if more:
            self._desk.post(messages.adjust(self.peer, more))
        if self._window.probe_due():
            self._desk.post(messages.probe(self.peer))

    def close(self) -> None:
        """Nothing follows our CLOSE; the channel is gone when both ends have closed."""
        if not self.closed_here:
            self.closed_here, self.room = True, 0
            if self.peer >= 0:
                self._desk.post(messages.close(self.peer))
            if self.closed_there:
                self._leave()

    def receive(self, kind: int, message: memoryview) -> None:
        """Raises ``BadPacket`` for what a server may not say."""
        if kind == messages.OPEN_CONFIRMATION:
            self._opened(message)
        elif kind == messages.OPEN_FAILURE:
            self._refused(message)
        elif self.peer < 0 or self.closed_there:
            raise BadPacket(f"message {kind} for a channel that is not open")
        elif kind == messages.DATA:
            self._take(messages.content(message))
        elif kind == messages.EXTENDED_DATA:
            self._window.received(messages.size(message))  # a connection has no stderr; OpenSSH's client drops it, too
        elif kind == messages.WINDOW_ADJUST:
            self._more_room(messages.number(message, 5))
        elif kind == messages.END_OF_DATA:
            self._end()
        elif kind == messages.CLOSE:
            self._end_all()
        elif kind == messages.REQUEST:
            if messages.wants_reply(message) and not self.closed_here:
                self._desk.post(messages.refuse_request(self.peer))
        elif kind in (messages.REQUEST_SUCCESS, messages.REQUEST_FAILURE):
            self._window.probed()
        else:
            raise BadPacket(f"message {kind} for a forwarded connection")

    def _opened(self, message: memoryview) -> None:
        if self.peer >= 0:
            raise BadPacket("a channel was opened twice")
        self.peer, self.room, self.piece = messages.opened(message)
        if self.piece == 0:
            raise BadPacket("a channel that takes no data")
        if self.piece > PIECE_BYTES:
            self.piece = PIECE_BYTES
        self._desk.delay.seen(time.monotonic() - self._asked_at)
        if self.closed_here:
            self.room = 0
            self._desk.post(messages.close(self.peer))
        else:
            self._user.on_opened()

    def _refused(self, message: memoryview) -> None:
        if self.peer >= 0:
            raise BadPacket("a channel was refused after it was opened")
        reason, text = messages.number(message, 5), bytes(messages.string(message, 9)).decode(errors="replace")
        given_up, self.closed_here, self.closed_there = self.closed_here, True, True
        if not given_up:
            self._user.on_refused(reason, text)
        self._leave()

    def _take(self, content: memoryview) -> None:
        self._window.received(len(content))
        if not (self.closed_here or self.ended_there):
            self._user.on_data(content)

    def _more_room(self, count: int) -> None:
        if self.closed_here:
            return
        self.room += count
        if self.room > 0xFFFFFFFF:
            raise BadPacket("a window larger than the protocol has")
        self._user.on_room()

    def _end(self) -> None:
        if self.ended_there:
            return
        self.ended_there = True
        if not self.closed_here:
            self._user.on_end()

    def _end_all(self) -> None:
        self.closed_there, self.room = True, 0
        if self.closed_here:
            self._leave()
            return
        self._user.on_end()
        self._say_close_after_theirs()

    def _say_close_after_theirs(self) -> None:
        if not self.closed_here:
            self.closed_here = True
            self._desk.post(messages.close(self.peer))
            self._leave()

    def _leave(self) -> None:
        self._desk.leave(self._number, self._window.credit)
        self._window.give_back()
        self._user.on_left()
        del self._user  # who has it too: a circle would stay until the garbage is collected
