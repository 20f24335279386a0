"""Both ends of a stream session in memory: carriers that lose bytes at any point, local connections that take some."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from remote_runtime.bridge.streams.protocol.carrier import Carrier
from remote_runtime.bridge.streams.protocol.frames import Buffer
from remote_runtime.bridge.streams.protocol.send_buffer import SpoolBudget
from remote_runtime.bridge.streams.protocol.session import StreamSession
from remote_runtime.bridge.streams.protocol.stream import ResumableStream

CLIENT, SERVER = 0, 1
MAX_ROUNDS = 100  # 2,000 seeds needed 13 at most
ROUND_S = 0.1
MAX_ROUND_BYTES = 1 << 20  # of each link in each direction


class Clock:
    """Time that passes only by ``advance``; its timers are called then."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def __call__(self) -> float:
        return self.now

    def call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (self.now + delay_s, next(self._numbers), call))

    def advance(self, by_s: float) -> None:
        self.now += by_s
        while self._timers and self._timers[0][0] <= self.now:
            heapq.heappop(self._timers)[2]()


@dataclass
class Local:
    """``to_send``: what its program writes, then EOF if ``ends``. ``received``: what its program has read, of the
    ``accepts`` bytes that it wants to read now (None: all). ``without_socket``: the stream takes what it accepts."""

    to_send: bytes
    ends: bool = True
    accepts: int | None = None
    without_socket: bool = False
    received: bytearray = field(default_factory=bytearray)
    got_eof: bool = False
    was_reset: bool = False
    is_gone: bool = False
    is_closed: bool = False
    readable: bool = False
    writable: bool = False
    sent: int = 0

    def serve(self, stream: ResumableStream) -> None:
        """``StreamPair.serve`` knows the stream."""

    def recv(self, max_bytes: int) -> bytes:
        if self.is_gone:
            raise ConnectionResetError
        content = self.to_send[self.sent : self.sent + max_bytes]
        if not content and not self.ends:
            raise BlockingIOError
        self.sent += len(content)
        return content

    def send(self, buffers: list[Buffer]) -> int:
        if self.is_gone:
            raise BrokenPipeError
        content = b"".join(map(bytes, buffers))
        size = len(content) if self.accepts is None else min(self.accepts, len(content))
        if not size:
            raise BlockingIOError
        if self.accepts is not None:
            self.accepts -= size
        self.received += content[:size]
        return size

    def watch(self, *, readable: bool, writable: bool) -> None:
        assert not self.is_closed
        self.readable, self.writable = readable, writable

    def shut_down(self) -> None:
        if self.is_gone:
            raise BrokenPipeError
        self.got_eof = True

    def check_received(self, expected: bytes) -> None:
        """Raises ``AssertionError`` unless the program has read this, then EOF. The text is short: pytest would compare
        the bytes line by line, for minutes where ``CI`` is set."""
        if self.received != expected:
            same = next(
                (at for at, (one, other) in enumerate(zip(self.received, expected, strict=False)) if one != other),
                "the end",
            )
            raise AssertionError(f"{len(self.received)} bytes of {len(expected)} arrived, the same until {same}")
        assert self.got_eof

    def close(self, *, reset: bool) -> None:
        assert not self.readable
        assert not self.writable
        self.is_closed = True
        self.was_reset = self.was_reset or reset


class Link:
    """One connection with a carrier at each end. ``under_way``: bytes sent by each end that have not arrived."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.carriers: list[Carrier] = []
        self.under_way = [bytearray(), bytearray()]
        self.waiting = [False, False]
        self.closed = [False, False]

    def transport(self, end: int) -> LinkEnd:
        return LinkEnd(self, end)

    def deliver(self, sender: int, count: int) -> bool:
        """Let ``count`` bytes of what ``sender`` has sent arrive; False if there are none."""
        receiver = 1 - sender
        if self.closed[receiver] or not self.under_way[sender]:
            return False
        content = bytes(self.under_way[sender][:count])
        del self.under_way[sender][:count]
        self.carriers[receiver].on_received(memoryview(content))
        self.carriers[receiver].on_all_received()
        if self.waiting[sender] and not self.closed[sender]:
            self.carriers[sender].on_writable()
        return True

    def notice(self, end: int) -> None:
        """This end finds the link lost."""
        self.carriers[end].on_lost("cut")


@dataclass
class LinkEnd:
    link: Link
    end: int

    def serve(self, carrier: Carrier) -> None:
        """``Link`` knows the carrier."""

    def send(self, buffers: list[Buffer]) -> int:
        content = b"".join(map(bytes, buffers))
        count = min(len(content), max(0, self.link.capacity - len(self.link.under_way[self.end])))
        if not self.link.closed[1 - self.end]:  # else it is lost
            self.link.under_way[self.end] += content[:count]
        return count

    def watch_writable(self, wanted: bool) -> None:
        assert not self.link.closed[self.end]
        self.link.waiting[self.end] = wanted

    def close(self) -> None:
        self.link.closed[self.end] = True
        self.link.under_way[1 - self.end].clear()


class StreamPair:
    """``answers``: what the server's programs send, by stream number."""

    def __init__(
        self,
        answers: Callable[[int], Local],
        *,
        budget: Callable[[], SpoolBudget] = SpoolBudget,
        client: type[StreamSession] = StreamSession,
        server: type[StreamSession] = StreamSession,
    ) -> None:
        self.clock = Clock()
        self.here: list[Local] = []
        self.there: dict[int, Local] = {}
        self.resets: list[tuple[int, str]] = []
        self.links: list[Link] = []
        self._answers = answers
        self._numbers = itertools.count(1)
        kinds: list[type[StreamSession]] = [client, server]
        self.sessions = [
            kind(
                clock=self.clock,
                call_later=self.clock.call_later,
                budget=budget(),
                open_local=self._open if end == SERVER else None,
                on_reset=lambda stream, why: self.resets.append((stream.number, why)),
            )
            for end, kind in enumerate(kinds)
        ]

    def _open(self, number: int) -> Local:
        assert number not in self.there, "a request was given to the server twice"
        local = self.there[number] = self._answers(number)
        return local

    def open_stream(self, local: Local) -> ResumableStream:
        self.here.append(local)
        return self.sessions[CLIENT].open_stream(local)

    def attach(self, capacity: int = 1 << 20) -> Link:
        """A new carrier at both ends. After an outage the server gives up the carriers that it still has."""
        link, number = Link(capacity), next(self._numbers)
        if not self.sessions[CLIENT].carriers:
            for old in list(self.sessions[SERVER].carriers):
                old.on_lost("the client has connected again")
        link.carriers = [Carrier(session, link.transport(end), number) for end, session in enumerate(self.sessions)]
        self.links = [each for each in self.links if not all(each.closed)] + [link]
        for end in (SERVER, CLIENT):
            self.sessions[end].attach(link.carriers[end])
        return link

    def serve(self, end: int) -> bool:
        """Let each local connection of one end do what it is ready for, once; whether anything was done."""
        done = False
        for stream in list(self.sessions[end].streams.values()):
            local = stream.local
            assert isinstance(local, Local)
            if local.readable:
                before = local.sent
                if local.without_socket and local.sent < len(local.to_send):
                    local.sent += stream.take(memoryview(local.to_send)[local.sent :])
                if local.sent == before:
                    stream.on_readable()
                done |= local.sent != before or not local.readable
            if local.writable and local.accepts != 0:
                stream.on_writable()
                done = True
        return done

    def settle(self) -> None:
        """Whatever was cut is replaced, all local connections read everything; until nothing happens any more. Raises
        ``AssertionError`` after ``MAX_ROUNDS``."""
        idle = 0
        for _ in range(MAX_ROUNDS):
            if idle == 3:
                return
            self._repair()
            for local in [*self.here, *self.there.values()]:
                local.accepts = None
            moved = self.serve(CLIENT) | self.serve(SERVER)
            for link in self.links:
                for sender in (CLIENT, SERVER):
                    moved |= link.deliver(sender, MAX_ROUND_BYTES)
            self.clock.advance(ROUND_S)
            idle = 0 if moved else idle + 1
        raise AssertionError(f"something still moves after {MAX_ROUNDS} rounds")

    def _repair(self) -> None:
        for link in self.links:
            for end in (CLIENT, SERVER):
                link.capacity = 1 << 22
                if any(link.closed) and not link.closed[end]:
                    link.notice(end)
        if not self.sessions[CLIENT].carriers:
            self.attach()
