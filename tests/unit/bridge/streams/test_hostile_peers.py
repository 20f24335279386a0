"""What a peer sends costs this end a bounded amount of memory, and never an exception."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remote_runtime.bridge.streams.protocol import frames
from remote_runtime.bridge.streams.protocol.send_buffer import MAX_WINDOWS_BYTES, SpoolBudget, WindowAllowance
from tests.support.stream_pair import CLIENT, SERVER, Local, StreamPair

MIB = 1 << 20
MAX_QUEUED_BYTES = 3 * MIB  # the bound, and what one read adds


def narrow() -> SpoolBudget:
    """Windows grow by 2 MiB together."""
    budget = SpoolBudget()
    budget.sending, budget.receiving = WindowAllowance(2 * MIB), WindowAllowance(2 * MIB)
    return budget


def feed(pair: StreamPair, *content: bytes, end: int = SERVER) -> None:
    """To the first carrier of that end, which the other one knows nothing of."""
    for each in content:
        pair.links[0].carriers[end].on_received(memoryview(each))
        while pair.serve(end):
            continue


def silent(number: int) -> Local:
    return Local(b"", ends=False)


def attached(answers: Callable[[int], Local], *, narrowed: bool = False) -> StreamPair:
    """With a client that reads nothing."""
    pair = StreamPair(answers, budget=narrow if narrowed else SpoolBudget)
    pair.attach(capacity=0)
    return pair


@pytest.mark.parametrize(("narrowed", "most"), [(False, 32 * MIB), (True, MIB)], ids=["a stream", "all streams"])
def test_a_grant_without_limit_does_not_make_the_server_read_without_limit(narrowed: bool, most: int) -> None:
    answer = Local(bytes(40 * MIB))
    pair = attached(lambda number: answer, narrowed=narrowed)
    feed(pair, frames.frame(frames.DATA, 1, 0, b"GET"), frames.frame(frames.ACK, 1, 0, frames.LIMIT.pack(1 << 60)))
    assert most - MIB < answer.sent <= most + MIB


def test_who_claims_to_be_held_up_gets_no_window_without_limit() -> None:
    pair = attached(silent, narrowed=True)
    for number in range(1, 5):
        feed(pair, *[frames.frame(frames.DATA, number, 0, b"", frames.BLOCKED)] * 8)
    windows = [stream.receiving.window for stream in pair.sessions[SERVER].streams.values()]
    assert sum(windows) <= (4 + 2) * MIB
    pair.sessions[SERVER].close("the test is over")
    assert pair.sessions[SERVER].budget.receiving.left == 2 * MIB


@pytest.mark.parametrize(
    "content",
    [
        frames.frame(frames.SUMMARY, payload=frames.SUMMARY_ENTRY.pack(7, 0, 0) * 1000),
        frames.frame(frames.DATA, 7, 0, b"x") * 1000,
    ],
    ids=["SUMMARY", "DATA of a stream that has ended"],
)
def test_who_reads_no_answers_loses_the_carrier(content: bytes) -> None:
    pair = attached(silent)
    carrier, most = pair.links[0].carriers[SERVER], 0
    feed(pair, frames.frame(frames.DATA, 7, 0, b"x"), frames.frame(frames.RESET, 7))
    for _ in range(MAX_QUEUED_BYTES // 1000):
        carrier.on_received(memoryview(content))
        most = max(most, carrier.queued_bytes)
    assert carrier.is_closed
    assert most < MAX_QUEUED_BYTES


def test_numbers_that_are_left_out_are_not_kept_for_ever() -> None:
    def refuse(number: int) -> Local:
        raise OSError("too many")

    pair = StreamPair(refuse)
    pair.attach(1 << 30)
    feed(pair, b"".join(frames.frame(frames.DATA, number, 0, b"x") for number in range(1, 100_000, 2)))
    session = pair.sessions[SERVER]
    assert len(session._opened) <= 16_384
    assert all(session._was_opened(number) for number in (1, 3, 50_001, 99_999))
    assert not session._was_opened(99_998)


def test_a_stream_in_tiny_pieces_with_gaps_is_not_kept() -> None:
    pair = attached(silent)
    feed(pair, b"".join(frames.frame(frames.DATA, 1, offset, b"x") for offset in range(1, 20_000, 2)))
    assert pair.links[0].closed[SERVER]
    assert len(pair.sessions[SERVER].streams[1].receiving._offsets) <= 4096


ODD_OFFSETS = st.sampled_from([0, 1, 3, 4, 1000, MIB, 33 * MIB, 2**63, 2**64 - 1])
ODD_FRAMES = st.builds(
    frames.frame,
    st.integers(0, 11),
    st.sampled_from([0, 1, 2, 3, 2**32 - 1]),
    ODD_OFFSETS,
    st.one_of(
        st.binary(max_size=30),
        st.builds(frames.LIMIT.pack, ODD_OFFSETS),
        st.builds(frames.SUMMARY_ENTRY.pack, st.integers(0, 3), ODD_OFFSETS, ODD_OFFSETS),
    ),
    st.integers(0, 255),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ODD_FRAMES, max_size=12), st.sampled_from([CLIENT, SERVER]), st.binary(max_size=30))
def test_frames_in_any_order_cost_a_carrier_at_most(sent: list[bytes], end: int, rest: bytes) -> None:
    pair = StreamPair(lambda number: Local(b"answer", ends=number % 2 == 0))
    for _ in range(2):
        pair.open_stream(Local(b"GET", ends=False))
    pair.attach()
    for _ in range(3):
        pair.serve(CLIENT)
        pair.links[0].deliver(CLIENT, MIB)
        pair.links[0].deliver(SERVER, MIB)
    feed(pair, *sent, rest, end=end)
    pair.clock.advance(1)
    for session in pair.sessions:
        session.close("the test is over")
        assert not session.streams
        assert (session.budget.in_memory, session.budget.on_disk) == (0, 0)
        assert session.budget.sending.left == session.budget.receiving.left == MAX_WINDOWS_BYTES
