"""Every byte arrives once and in order, whatever is cut when; defects of the protocol are noticed by the same test."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remote_runtime.bridge.streams.protocol import frames
from remote_runtime.bridge.streams.protocol.carrier import Carrier
from remote_runtime.bridge.streams.protocol.receive_buffer import INITIAL_WINDOW_BYTES
from remote_runtime.bridge.streams.protocol.send_buffer import SpoolBudget
from remote_runtime.bridge.streams.protocol.session import StreamSession
from remote_runtime.bridge.streams.protocol.stream import ResumableStream
from tests.support.stream_pair import CLIENT, SERVER, Local, StreamPair

SIZES = (0, 1, 300, 20_000, 300_000)
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


def small_spool() -> SpoolBudget:
    return SpoolBudget(memory_bytes=100_000)


def run(
    seed: int,
    *,
    steps: int = 250,
    client: type[StreamSession] = StreamSession,
    server: type[StreamSession] = StreamSession,
) -> None:
    """Random work, cuts and deliveries; then everything must be there. Raises ``AssertionError``."""
    rng = random.Random(seed)  # noqa: S311  # a test that can be repeated
    answers: dict[int, bytes] = {}

    def answer(number: int) -> Local:
        answers[number] = rng.choice((b"", UPGRADED)) + rng.randbytes(rng.choice(SIZES))
        return Local(answers[number], accepts=rng.choice((None, 0, 1000)), without_socket=rng.random() < 0.5)

    pair = StreamPair(answer, budget=small_spool, client=client, server=server)
    requests = [rng.randbytes(rng.choice(SIZES[1:])) for _ in range(4)]
    for request in requests:
        pair.open_stream(Local(request, accepts=rng.choice((None, 0, 1000))))
    for _ in range(steps):
        choice = rng.randrange(20)
        if choice < 2:
            if len(pair.sessions[CLIENT].carriers) < 4:
                pair.attach(rng.choice((100, 65_536, 1 << 20)))
        elif choice < 7:
            pair.serve(rng.choice((CLIENT, SERVER)))
        elif choice == 7:
            pair.clock.advance(0.03)
        elif pair.links:
            link, end = rng.choice(pair.links), rng.choice((CLIENT, SERVER))
            if choice > 8:
                link.deliver(end, rng.choice((1, 1000, 30_000, 1 << 18)))
            elif not link.closed[end]:
                link.notice(end)
    pair.settle()
    assert not pair.resets
    assert sorted(pair.there) == [1, 2, 3, 4]
    for number, (request, local) in enumerate(zip(requests, pair.here, strict=True), 1):
        pair.there[number].check_received(request)
        local.check_received(answers[number])
    for session in pair.sessions:
        assert not session.streams
        assert (session.budget.in_memory, session.budget.on_disk) == (0, 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_every_byte_arrives_once_and_in_order_whatever_is_cut(seed: int) -> None:
    run(seed)


class ForgetsToResend(StreamSession):
    def lose(self, carrier: Carrier, why: str) -> None:
        streams, self.streams = self.streams, {}
        super().lose(carrier, why)
        self.streams = streams


class TakesWhatItHas(StreamSession):
    def on_data(self, number: int, offset: int, piece: frames.Buffer, flags: int) -> None:
        stream = self.streams.get(number)
        if stream is not None and offset < stream.receiving.received < offset + len(piece):
            offset = stream.receiving.received  # without cutting the piece
        super().on_data(number, offset, piece, flags)


class AcknowledgesOverGaps(StreamSession):
    def acknowledge(self, stream: ResumableStream, *, at_once: bool) -> None:
        receiving = stream.receiving
        ends = [offset + len(piece) for offset, piece in receiving._early.items()]
        receiving.delivered, delivered = max([receiving.received, *ends]), receiving.delivered
        self.send(stream.ack_frame())
        receiving.delivered = delivered


class OpensTwice(StreamSession):
    def _was_opened(self, number: int) -> bool:
        return False


@pytest.mark.parametrize(
    "mutant", [ForgetsToResend, TakesWhatItHas, AcknowledgesOverGaps, OpensTwice], ids=lambda mutant: mutant.__name__
)
def test_a_defect_of_the_protocol_is_noticed(mutant: type[StreamSession]) -> None:
    def survives(seed: int) -> bool:
        try:
            run(seed, client=mutant, server=mutant)
        except (AssertionError, frames.ProtocolError):
            return False
        return True

    assert not all(survives(seed) for seed in range(60))


# ── one thing at a time


def pair_with(answer: Local, *requests: Local, capacity: int = 1 << 22) -> StreamPair:
    pair = StreamPair(lambda number: answer, budget=small_spool)
    for request in requests:
        pair.open_stream(request)
    pair.attach(capacity)
    return pair


def exchange(pair: StreamPair, rounds: int = 20) -> None:
    for _ in range(rounds):
        for _ in range(10):  # more than a window between two deliveries
            pair.serve(CLIENT)
            pair.serve(SERVER)
        for link in pair.links:
            link.deliver(CLIENT, 1 << 22)
            link.deliver(SERVER, 1 << 22)
        pair.clock.advance(0.05)


def test_a_client_that_has_sent_nothing_costs_the_server_nothing() -> None:
    pair = pair_with(Local(b""), Local(b"", ends=False))
    exchange(pair)
    assert not pair.there
    assert not pair.sessions[SERVER].streams


@pytest.mark.parametrize(("capacity", "taken"), [(100_000, 3 << 18), (1 << 22, INITIAL_WINDOW_BYTES)])
def test_a_stream_takes_what_the_carriers_and_its_window_accept_and_no_more(capacity: int, taken: int) -> None:
    pair = pair_with(Local(b"", ends=False), Local(b"GET", ends=False), capacity=capacity)
    exchange(pair)
    stream, content = pair.sessions[SERVER].streams[1], memoryview(bytes(1 << 20))
    assert sum(iter(lambda: stream.take(content), 0)) == taken
    exchange(pair)
    assert stream.take(content)


def test_an_end_uses_so_many_carriers_for_bulk() -> None:
    pair = pair_with(Local(b"", ends=False), Local(b"GET", ends=False))
    for _ in range(3):
        pair.attach()
    exchange(pair)
    session = pair.sessions[SERVER]
    session._max_bulk_carriers = 1
    while session.streams[1].take(memoryview(bytes(100_000))):
        pass
    assert [bool(link.under_way[SERVER]) for link in pair.links] == [False, True, False, False]


def test_a_reset_at_one_end_is_a_reset_at_the_other() -> None:
    here, there = Local(b"GET", ends=False), Local(b"answer", ends=False)
    pair = pair_with(there, here)
    exchange(pair)
    assert here.received == b"answer"
    there.is_gone = True
    pair.sessions[SERVER].streams[1].on_readable()
    exchange(pair)
    assert here.was_reset
    assert not pair.sessions[CLIENT].streams
    assert not pair.sessions[SERVER].streams


def test_what_a_reset_connection_had_sent_arrives_before_the_reset() -> None:
    here, there = Local(b"GET", ends=False), Local(b"last words", ends=False)
    pair = pair_with(there, here)
    pair.serve(CLIENT)
    pair.links[0].deliver(SERVER, 1 << 20)
    pair.links[0].deliver(CLIENT, 1 << 20)
    pair.serve(SERVER)
    there.is_gone = True
    pair.sessions[SERVER].streams[1].on_readable()
    exchange(pair)
    assert here.received == b"last words"
    assert here.was_reset


def test_what_is_discarded_is_never_confirmed_to_the_server() -> None:
    here, there = Local(b"GET", ends=False, accepts=5), Local(b"first, and then the rest", ends=False)
    pair = pair_with(there, here)
    exchange(pair)
    stream = pair.sessions[SERVER].streams[1]
    assert here.received == b"first"
    assert stream.confirmed == 5
    for link in pair.links:
        link.notice(CLIENT)
    here.is_gone = True
    pair.sessions[CLIENT].streams[1].on_readable()
    pair.settle()
    assert stream.is_closed
    assert there.was_reset
    assert stream.confirmed == 5
    assert stream.sending.acknowledged > 5


def test_the_server_reads_a_websocket_ahead_of_its_client_and_other_answers_not() -> None:
    for head, reads_all in ((UPGRADED, True), (b"HTTP/1.1 200 OK\r\n\r\n", False)):
        there = Local(head + bytes(40_000_000), ends=False)
        pair = pair_with(there, Local(b"GET", ends=False, accepts=0))
        exchange(pair, 400)
        assert (there.sent == len(there.to_send)) is reads_all
        stream = pair.sessions[SERVER].streams[1]
        assert stream.is_websocket is reads_all
        assert pair.sessions[CLIENT].streams[1].receiving.granted < 3 << 20
        assert pair.sessions[SERVER].budget.in_memory < 6 << 20


def test_a_full_spool_resets_the_stream_with_the_reason() -> None:
    there = Local(UPGRADED + bytes(5 << 20), ends=False)
    pair = StreamPair(lambda number: there, budget=lambda: SpoolBudget(memory_bytes=100_000, disk_bytes=1 << 20))
    here = Local(b"GET", ends=False, accepts=0)
    pair.open_stream(here)
    pair.attach()
    exchange(pair, 60)
    assert any("wait on disk" in why for _, why in pair.resets)
    assert here.was_reset
    assert there.was_reset
    assert pair.sessions[SERVER].budget.on_disk == 0


def test_a_window_grows_for_a_reader_that_keeps_up_only() -> None:
    for accepts, grows in ((None, True), (0, False)):
        pair = pair_with(Local(bytes(30_000_000)), Local(b"GET", ends=False, accepts=accepts))
        exchange(pair, 200)
        if grows:
            assert pair.sessions[CLIENT].streams[1].receiving.window > 4 << 20
        else:
            assert pair.sessions[CLIENT].streams[1].receiving.window == 1 << 20


def test_a_reset_that_was_lost_is_told_by_the_next_summary() -> None:
    here, there = Local(b"GET", ends=False), Local(b"", ends=False)
    pair = pair_with(there, here)
    exchange(pair)
    pair.links[0].notice(SERVER)
    pair.sessions[SERVER].reset_streams("there was no link for too long")
    pair.settle()
    assert here.was_reset
    assert not pair.sessions[CLIENT].streams


def test_a_last_ack_on_a_carrier_that_only_the_other_end_knew_to_be_lost_leaves_nothing_open() -> None:
    pair = pair_with(Local(b"answer"))
    pair.attach()
    pair.attach()
    exchange(pair, 1)
    pair.open_stream(Local(b"GET"))
    for _ in range(2):  # the request, then its end
        pair.serve(CLIENT)
    pair.links[0].deliver(CLIENT, 1 << 20)
    pair.links[0].notice(SERVER)
    pair.links[1].notice(SERVER)
    pair.links[1].notice(CLIENT)  # it carried the news about the first
    for _ in range(3):
        pair.serve(SERVER)
        pair.links[2].deliver(SERVER, 1 << 20)
        pair.clock.advance(0.05)
    assert not pair.sessions[CLIENT].streams
    assert pair.sessions[SERVER].streams
    pair.settle()
    assert not pair.sessions[SERVER].streams


@pytest.mark.parametrize(
    "content",
    [
        frames.frame(frames.HELLO),
        frames.frame(frames.ACK, 1, 0, b"short"),
        frames.frame(frames.ACK, 1, 1 << 40, bytes(8)),
        frames.frame(frames.DATA, 1, 1 << 40, b"x"),
        bytes(40),
    ],
    ids=["unexpected", "cut short", "acknowledges too much", "beyond the window", "noise"],
)
def test_a_peer_that_breaks_the_protocol_loses_its_carrier_and_no_other(content: bytes) -> None:
    here, there = Local(b"GET", ends=False), Local(b"answer", ends=False)
    pair = pair_with(there, here)
    other = pair.attach()
    exchange(pair)
    pair.links[0].carriers[SERVER].on_received(memoryview(content))
    assert pair.links[0].closed[SERVER]
    assert not other.closed[SERVER]
    pair.settle()
    assert here.received == b"answer"
    assert not pair.resets
