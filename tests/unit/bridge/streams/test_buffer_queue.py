"""Buffers that wait for a socket: each byte is sent once, in order, whatever the socket accepts."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from remote_runtime.bridge.streams.protocol.buffer_queue import BufferQueue
from remote_runtime.bridge.streams.protocol.frames import Buffer


@given(st.lists(st.tuples(st.binary(max_size=30), st.booleans(), st.integers(0, 60)), max_size=100))
def test_each_byte_is_sent_once_and_in_order_whatever_is_accepted(steps: list[tuple[bytes, bool, int]]) -> None:
    queue, sent, shared = BufferQueue(), bytearray(), bytearray(30)

    def send(buffers: list[Buffer], accepted: int = 1 << 20) -> int:
        content = b"".join(map(bytes, buffers))[:accepted]
        sent.extend(content)
        return len(content)

    for content, is_view, accepted in steps:
        if is_view:
            shared[: len(content)] = content
            queue.append_view(memoryview(shared)[: len(content)])
        else:
            queue.append(content)
        before = queue.size
        assert queue.send(partial(send, accepted=accepted)) == before - queue.size
        queue.keep()
        shared[:] = bytes(30)  # as when the buffer is used again
    queue.send(send)
    assert queue.size == 0
    assert sent == b"".join(content for content, _, _ in steps)
