"""Frames arrive in any pieces; what is no frame ends the carrier."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_runtime.bridge.streams.protocol import frames
from remote_runtime.bridge.streams.protocol.frames import FrameParser, ProtocolError, frame

FRAMES = st.builds(
    frame,
    st.integers(frames.DATA, frames.REFUSED),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**40),
    st.binary(max_size=100),
    st.integers(0, 7),
)


class Parsed:
    def __init__(self) -> None:
        self.frames: list[tuple[object, ...]] = []
        self._content = b""
        self.parser = FrameParser(self._on_data, lambda *parts: self.frames.append(parts))

    def feed(self, content: bytes, sizes: list[int]) -> Parsed:
        while content:
            size = sizes.pop() if sizes else len(content)
            self.parser.feed(memoryview(content[:size]))
            content = content[size:]
        return self

    def _on_data(self, stream: int, offset: int, piece: frames.Buffer, flags: int) -> None:
        """Joined, as the pieces depend on how the bytes arrived."""
        if self.frames and self.frames[-1][:2] == (stream, offset - len(self._content)) and self._content:
            self.frames.pop()
            offset -= len(self._content)
            self._content += bytes(piece)
        else:
            self._content = bytes(piece)
        self.frames.append((stream, offset, self._content, flags))
        if flags:
            self._content = b""


@given(st.lists(FRAMES, max_size=8), st.lists(st.integers(1, 60)))
def test_the_pieces_in_which_frames_arrive_make_no_difference(sent: list[bytes], sizes: list[int]) -> None:
    content = b"".join(sent)
    assert Parsed().feed(content, sizes).frames == Parsed().feed(content, []).frames


def test_a_frame_arrives_as_it_was_sent() -> None:
    sent = frame(frames.DATA, 7, 1000, b"abc", frames.FIN) + frame(frames.ACK, 9, 5, b"12345678")
    assert Parsed().feed(sent, []).frames == [(7, 1000, b"abc", frames.FIN), (frames.ACK, 9, 5, b"12345678")]


@pytest.mark.parametrize(
    "content",
    [
        frame(0),
        frame(77),
        frames.HEAD.pack(frames.DATA, 0, 0, 1, 0, frames.MAX_DATA_BYTES + 1),
        frames.HEAD.pack(frames.SUMMARY, 0, 0, 0, 0, frames.MAX_OTHER_BYTES + 1),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["kind 0", "kind 77", "long data", "long summary", "HTTP"],
)
def test_what_is_no_frame_is_an_error(content: bytes) -> None:
    with pytest.raises(ProtocolError):
        Parsed().feed(content, [])
