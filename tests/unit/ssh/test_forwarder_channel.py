"""Channels and windows of the engine, against a peer that keeps the protocol and against peers that do not."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remote_runtime.ssh.forwarder import messages as wire
from remote_runtime.ssh.forwarder.aes_gcm import BadPacket
from remote_runtime.ssh.forwarder.channel import Channel
from remote_runtime.ssh.forwarder.channel_table import MAX_CLOSED_CHANNELS, MAX_LATE_MESSAGES, ChannelTable
from remote_runtime.ssh.forwarder.loop import Loop
from remote_runtime.ssh.forwarder.windows import (
    INITIAL_BYTES,
    MAX_BYTES,
    MAX_CHANNELS,
    MAX_TOTAL_BYTES,
    MIN_BYTES,
    RttEstimator,
    Window,
    WindowBudget,
)

NUMBER = wire.FIRST_CHANNEL
PEER = 3


class FakeLoop(Loop):
    """Keeps what is sent. ``free``: numbers of closed channels."""

    def __init__(self) -> None:
        self.budget, self.rtt = WindowBudget(), RttEstimator()
        self.channels = self.table = FakeTable()
        self.posted: list[bytes] = []

    def send(self, message: bytes) -> None:
        self.posted.append(message)

    def kinds(self) -> list[int]:
        return [message[0] for message in self.posted[1:]]


class FakeTable(ChannelTable):
    def __init__(self) -> None:
        super().__init__()
        self.free: list[int] = []

    def unregister(self, number: int, credit: int) -> None:
        super().unregister(number, credit)
        self.free.append(number)


class FakeHandler:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def on_opened(self) -> None:
        self.told.append("opened")

    def on_refused(self, reason: int, text: str) -> None:
        self.told.append((reason, text))

    def on_data(self, content: memoryview) -> None:
        self.told.append(bytes(content))

    def on_window(self) -> None:
        self.told.append("room")

    def on_eof(self) -> None:
        self.told.append("end")

    def on_closed(self) -> None:
        self.told.append("left")


def opened() -> tuple[Channel, FakeLoop, FakeHandler]:
    loop, handler = FakeLoop(), FakeHandler()
    channel = Channel(loop, handler, "localhost", 8888)
    hear(channel, wire.OPEN_CONFIRMATION, struct.pack(">III", PEER, 1 << 20, 1 << 15))
    return channel, loop, handler


def hear(channel: Channel, kind: int, rest: bytes = b"") -> None:
    channel.receive(kind, memoryview(bytes((kind,)) + struct.pack(">I", NUMBER) + rest))


def data(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def test_a_channel_asks_for_its_target_with_its_first_window() -> None:
    _, loop, handler = opened()
    head = b"\x5a" + data(b"direct-tcpip") + struct.pack(">III", NUMBER, INITIAL_BYTES, 32768)
    assert loop.posted[0] == head + data(b"localhost") + struct.pack(">I", 8888) + data(b"127.0.0.1") + bytes(4)
    assert handler.told == ["opened"]


def test_a_refusal_is_told_and_frees_the_number() -> None:
    loop, handler = FakeLoop(), FakeHandler()
    left = loop.budget.available
    channel = Channel(loop, handler, "localhost", 1)
    hear(channel, wire.OPEN_FAILURE, struct.pack(">I", 2) + data(b"Connection refused") + data(b""))
    assert handler.told == [(2, "Connection refused"), "left"]
    assert loop.table.free == [NUMBER]
    assert loop.budget.available == left


def test_both_ends_close_once_whoever_begins() -> None:
    for ours_first in (True, False):
        channel, loop, handler = opened()
        if ours_first:
            channel.close()
            hear(channel, wire.CLOSE)
        else:
            hear(channel, wire.CLOSE)
            channel.close()
        assert loop.kinds() == [wire.CLOSE]
        assert loop.table.free == [NUMBER]
        assert handler.told[-1] == "left"


def test_nothing_follows_our_close() -> None:
    channel, loop, _ = opened()
    channel.close()
    assert channel.send(b"late") == 0
    channel.send_eof()
    channel.consume(1 << 20)
    hear(channel, wire.DATA, data(b"still under way"))
    hear(channel, wire.REQUEST, data(b"keepalive@openssh.com") + b"\1")
    channel.close()
    assert loop.kinds() == [wire.CLOSE]


def test_a_channel_that_was_given_up_while_it_was_opened_is_closed() -> None:
    loop, handler = FakeLoop(), FakeHandler()
    channel = Channel(loop, handler, "localhost", 1)
    channel.close()
    assert loop.kinds() == []
    hear(channel, wire.OPEN_CONFIRMATION, struct.pack(">III", PEER, 1 << 20, 1 << 15))
    hear(channel, wire.CLOSE)
    assert loop.posted[1:] == [wire.close(PEER)]
    assert handler.told == ["left"]


def test_a_request_is_refused_if_it_wants_an_answer() -> None:
    channel, loop, _ = opened()
    hear(channel, wire.REQUEST, data(b"keepalive@openssh.com") + b"\1")
    hear(channel, wire.REQUEST, data(b"eow@openssh.com") + b"\0")
    assert loop.posted[1:] == [wire.request_failure(PEER)]


@settings(deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=90_000), st.integers(1, 1 << 17)), max_size=20), st.integers(1, 50_000))
def test_what_is_sent_keeps_to_the_peers_window_and_piece(steps: list[bytes | int], piece: int) -> None:
    loop, handler = FakeLoop(), FakeHandler()
    channel = Channel(loop, handler, "localhost", 1)
    hear(channel, wire.OPEN_CONFIRMATION, struct.pack(">III", PEER, 1000, piece))
    room, wanted, sent = 1000, b"", 0
    for step in steps:
        if isinstance(step, int):
            hear(channel, wire.WINDOW_ADJUST, struct.pack(">I", step))
            room += step
        else:
            wanted += step
        sent += channel.send(wanted[sent:])
    messages = [memoryview(message) for message in loop.posted[1:]]
    assert b"".join(bytes(wire.content(message)) for message in messages) == wanted[:sent]
    assert sent == min(room, len(wanted))
    assert all(len(wire.content(message)) <= min(piece, 32768) for message in messages)


@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        (wire.OPEN_CONFIRMATION, struct.pack(">III", PEER, 1, 1)),
        (wire.OPEN_FAILURE, struct.pack(">I", 2) + data(b"") + data(b"")),
        (wire.DATA, b""),
        (wire.DATA, b"\0\0\0\5abc"),
        (wire.DATA, b"\0\0\0\2abc"),
        (wire.DATA, b"\xff\xff\xff\xffabc"),
        (wire.DATA, data(bytes(INITIAL_BYTES + 1))),
        (wire.EXTENDED_DATA, b"\0\0\0\1" + data(bytes(INITIAL_BYTES + 1))),
        (wire.WINDOW_ADJUST, b"\0\0"),
        (wire.WINDOW_ADJUST, b"\xff\xff\xff\xff"),
        (wire.REQUEST, b"\0\0\0\x09x"),
        (wire.REQUEST, data(b"x")),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_what_a_server_may_not_say_ends_the_connection(kind: int, rest: bytes) -> None:
    channel, _, _ = opened()
    with pytest.raises(BadPacket):
        hear(channel, kind, rest)


def test_what_other_clients_ignore_is_ignored() -> None:
    channel, _, handler = opened()
    hear(channel, wire.DATA, data(bytes(40_000)))  # longer than agreed
    hear(channel, wire.EXTENDED_DATA, b"\0\0\0\1" + data(b"x"))
    hear(channel, wire.REQUEST_FAILURE)  # an answer that nobody has asked for
    hear(channel, wire.EOF)
    hear(channel, wire.EOF)
    hear(channel, wire.DATA, data(b"after its end"))
    assert handler.told == ["opened", bytes(40_000), "end"]
    with pytest.raises(BadPacket):
        hear(channel, wire.DATA, data(bytes(INITIAL_BYTES - 40_000)))


# ── after their end ──

LATE = [
    (wire.WINDOW_ADJUST, struct.pack(">I", 5)), (wire.DATA, data(bytes(1000))), (wire.EOF, b""),
    (wire.EXTENDED_DATA, b"\0\0\0\1" + data(bytes(1000))), (wire.CLOSE, b""),
    (wire.REQUEST, data(b"exit-status") + bytes(5)), (wire.REQUEST_SUCCESS, b""), (wire.REQUEST_FAILURE, b""),
]  # fmt: skip


def closed(count: int) -> ChannelTable:
    """A table whose first ``count`` channels were closed."""
    table = ChannelTable()
    for _ in range(count):
        table.unregister(table.register(lambda kind, message: None), credit=1000)
    return table


def late(kind: int, rest: bytes = b"", *, number: int = NUMBER) -> memoryview:
    return memoryview(bytes((kind,)) + struct.pack(">I", number) + rest)


@pytest.mark.parametrize(("kind", "rest"), LATE, ids=[str(kind) for kind, _ in LATE])
def test_what_was_under_way_when_a_channel_was_closed_is_ignored_and_no_more(kind: int, rest: bytes) -> None:
    gone = closed(1)
    gone.receive(late(kind, rest))
    with pytest.raises(BadPacket):
        [gone.receive(late(kind, rest)) for _ in range(MAX_LATE_MESSAGES)]


@pytest.mark.parametrize("kind", [wire.OPEN_CONFIRMATION, wire.OPEN_FAILURE])
def test_a_closed_channel_is_not_opened_again(kind: int) -> None:
    gone = closed(1)
    with pytest.raises(BadPacket):
        gone.receive(late(kind, bytes(12)))


def test_a_channel_that_never_was_or_is_long_gone_is_not_ignored() -> None:
    gone = closed(MAX_CLOSED_CHANNELS + 1)
    gone.receive(late(wire.CLOSE, number=NUMBER + MAX_CLOSED_CHANNELS))
    for number in (NUMBER, NUMBER + MAX_CLOSED_CHANNELS + 1):
        with pytest.raises(BadPacket):
            gone.receive(late(wire.CLOSE, number=number))


@pytest.mark.parametrize("kind", range(wire.OPEN_CONFIRMATION, wire.REQUEST_FAILURE + 1))
@settings(max_examples=40, deadline=None)
@given(rest=st.binary(max_size=64))
def test_noise_is_either_taken_or_refused(kind: int, rest: bytes) -> None:
    channel, _, _ = opened()
    try:
        hear(channel, kind, rest)
        hear(channel, kind, rest)
    except BadPacket:
        return


# ── windows ──


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_more_than_the_window_is_refused() -> None:
    window = Window(WindowBudget(), RttEstimator())
    window.received(window.credit)
    with pytest.raises(BadPacket):
        window.received(1)


@given(st.lists(st.integers(1, 1 << 20), max_size=60))
def test_credit_never_exceeds_what_the_reader_took(counts: list[int]) -> None:
    window = Window(WindowBudget(), RttEstimator())
    waiting = 0
    for count in counts:
        came = min(count, window.credit)
        window.received(came)
        waiting += came
        taken = waiting // 2
        waiting -= taken
        window.consume(taken)
        assert window.credit + waiting <= window.size


def test_all_windows_together_are_bounded_and_each_has_some() -> None:
    pool = WindowBudget()
    windows = [Window(pool, RttEstimator()) for _ in range(MAX_CHANNELS)]
    assert sum(window.size for window in windows) <= MAX_TOTAL_BYTES
    assert min(window.size for window in windows) >= MIN_BYTES
    assert pool.available >= 32 << 20, "some is kept for those that will need it"
    for window in windows:
        window.release()
    assert pool.available == MAX_TOTAL_BYTES - MAX_CHANNELS * MIN_BYTES


class Link:
    """A link of ``bytes_a_s`` with a queue, and one download through a window: time passes a round trip a step."""

    def __init__(self, round_trip_s: float, bytes_a_s: float) -> None:
        self.clock = Clock()
        self.pool, self.delay = WindowBudget(), RttEstimator(self.clock)
        self.round_trip_s, self.bytes_a_s = round_trip_s, bytes_a_s
        self.delay.add_sample(round_trip_s)
        self.window = Window(self.pool, self.delay)
        self.now_s = round_trip_s

    def run(self, steps: int, *, late_s: float = 0.0) -> None:
        """``late_s``: how long a busy computer takes to see what has come."""
        for _ in range(steps):
            self.now_s = max(self.round_trip_s, self.window.credit / self.bytes_a_s)
            probing = self.window.probe_due()
            for _ in range(64):
                self.clock.now += self.now_s / 64
                came = min(self.window.credit, int(self.bytes_a_s * self.now_s / 64))
                self.window.received(came)
                self.window.consume(came)
            self.clock.now += late_s
            if probing:
                self.window.on_probe_reply()


def test_a_window_grows_until_the_link_is_full_and_no_further() -> None:
    link = Link(0.05, 125e6)
    link.run(200)
    full = 0.05 * 125e6
    assert full <= link.window.size <= 1.4 * full
    assert link.now_s < 0.05 * 1.3


def test_a_window_shrinks_on_a_slow_link() -> None:
    link = Link(0.02, 2e6)
    link.run(200)
    assert link.window.size <= 1 << 19


def test_a_busy_computer_does_not_take_the_link_for_full() -> None:
    link = Link(0.05, 125e6)
    link.run(200)
    link.run(8, late_s=0.03)
    assert link.window.size >= 0.05 * 125e6


def test_a_window_follows_a_link_that_becomes_slow_and_fast_again() -> None:
    link = Link(0.05, 125e6)
    link.run(200)
    link.bytes_a_s = 25e6
    link.run(100)
    assert link.window.size <= 1.4 * 0.05 * 25e6
    link.bytes_a_s = 125e6
    link.run(40)
    assert link.window.size >= 0.9 * 0.05 * 125e6


def test_no_window_outgrows_its_limit_however_long_the_link() -> None:
    link = Link(2.0, 1e9)
    link.run(200)
    assert link.window.size <= MAX_BYTES
    assert link.pool.available >= 0
    link.window.release()
    assert link.pool.available == WindowBudget().available


def test_a_reader_that_does_not_take_gets_no_larger_window() -> None:
    window = Window(WindowBudget(), RttEstimator())
    window.received(window.credit)
    assert window.size == INITIAL_BYTES
    assert window.credit == 0
