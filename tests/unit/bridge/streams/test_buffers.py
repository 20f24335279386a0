"""The buffers of a stream's two directions, as values."""

from __future__ import annotations

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_runtime.bridge.streams.protocol.frames import FIN, MAX_DATA_BYTES, ProtocolError
from remote_runtime.bridge.streams.protocol.receive_buffer import INITIAL_WINDOW_BYTES, ReceiveBuffer
from remote_runtime.bridge.streams.protocol.send_buffer import SendBuffer, SpoolBudget, SpoolFull

CONTENT = bytes(range(200))


@given(st.lists(st.tuples(st.integers(0, 199), st.integers(0, 80)), max_size=40))
def test_pieces_that_overlap_and_come_in_any_order_give_each_byte_once(pieces: list[tuple[int, int]]) -> None:
    buffer, received = ReceiveBuffer(), b""
    for offset, size in [*pieces, (0, 90), (80, 120)]:
        received += b"".join(map(bytes, buffer.add(offset, CONTENT[offset : offset + size], 0)))
        assert received == CONTENT[: buffer.received]
        assert buffer.received + buffer.early_bytes <= len(CONTENT)
    assert received == CONTENT
    assert buffer.early_bytes == 0


@pytest.mark.parametrize(
    "pieces",
    [
        [(INITIAL_WINDOW_BYTES + MAX_DATA_BYTES, b"x", 0)],
        [(0, b"ab", FIN), (0, b"abc", FIN)],
        [(0, b"ab", FIN), (2, b"c", 0)],
        [(0, b"abc", 0), (0, b"ab", FIN)],
    ],
    ids=["beyond the window", "two ends", "after the end", "end before received bytes"],
)
def test_what_the_window_or_the_end_forbids_is_an_error(pieces: list[tuple[int, bytes, int]]) -> None:
    buffer = ReceiveBuffer()
    *before, last = pieces
    for piece in before:
        list(buffer.add(*piece))
    with pytest.raises(ProtocolError):
        list(buffer.add(*last))


@given(st.lists(st.one_of(st.binary(max_size=50), st.integers(0, 300)), max_size=40), st.booleans())
def test_what_is_not_acknowledged_is_kept_and_nothing_else(steps: list[bytes | int], spools: bool) -> None:
    budget = SpoolBudget(memory_bytes=100)
    buffer, content, acknowledged = SendBuffer(budget), b"", 0
    for step in steps:
        if isinstance(step, bytes):
            buffer.append(step, spool_above=60 if spools else None)
            content += step
        else:
            acknowledged = max(acknowledged, min(step, len(content)))
            buffer.acknowledge(step, step + 1)
    kept = list(buffer.unsent)
    assert b"".join(chunk.content() for chunk in kept) == content[len(content) - buffer.size :]
    assert buffer.size >= len(content) - acknowledged
    buffer.clear()
    assert (buffer.size, len(buffer), budget.in_memory, budget.on_disk) == (0, 0, 0, 0)


def test_only_what_was_sent_on_the_lost_carrier_is_sent_again_lowest_offset_first() -> None:
    buffer = SendBuffer(SpoolBudget())
    for content, carrier in ((b"a", 1), (b"b", 2), (b"c", 1), (b"d", None)):
        buffer.append(content)
        if carrier:
            buffer.unsent.popleft().carrier = carrier
    buffer.lose(1)
    assert [chunk.content() for chunk in buffer.unsent] == [b"a", b"c", b"d"]


def test_a_full_spool_is_an_error_that_says_so() -> None:
    buffer = SendBuffer(SpoolBudget(disk_bytes=3 << 20))
    for _ in range(3):
        buffer.append(bytes(1 << 20), spool_above=0)
    with pytest.raises(SpoolFull, match="3 MB wait on disk"):
        buffer.append(b"x", spool_above=0)


def test_nothing_is_written_to_a_disk_that_is_nearly_full() -> None:
    for limits in ({"min_free_bytes": 1 << 60}, {"min_free_share": 1.0}):
        budget = SpoolBudget(**limits)
        with pytest.raises(SpoolFull, match="the disk is nearly full"):
            SendBuffer(budget).append(b"x", spool_above=0)
        assert budget.on_disk == 0


def test_a_write_that_fails_in_the_middle_leaves_nothing_on_disk() -> None:
    budget = SpoolBudget()
    buffer, before = SendBuffer(budget), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(SpoolFull, match="File too large"):
            buffer.append(bytes(5000), spool_above=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert budget.on_disk == 0


def test_a_spool_that_cannot_be_written_is_an_error_that_says_why() -> None:
    buffer = SendBuffer(SpoolBudget(directory="/nonexistent"))
    with pytest.raises(SpoolFull, match="No such file"):
        buffer.append(b"x", spool_above=0)
