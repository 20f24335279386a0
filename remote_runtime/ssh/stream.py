"""One forwarded connection as a non-blocking stream."""

from __future__ import annotations

from collections.abc import Callable

import paramiko

from .channel import PACKET_BYTES, LinkChannel, close_quietly


class ChannelStream:
    """One forwarded connection, used by one thread; nothing blocks on the other end.

    ``recv`` and ``send`` raise ``BlockingIOError`` when there is nothing to do now and ``ConnectionResetError`` when
    the link, or the connection behind it, broke. ``on_room`` is called from another thread when more can be sent.
    """

    def __init__(self, channel: LinkChannel) -> None:
        channel.settimeout(0.0)
        self._channel = channel

    def fileno(self) -> int:
        return int(self._channel.fileno())

    def on_room(self, call: Callable[[], None] | None) -> None:
        self._channel.on_window = call

    def recv(self, size: int) -> bytes:
        try:
            data = self._channel.recv(size)
        except TimeoutError:
            raise BlockingIOError from None
        except (EOFError, paramiko.SSHException) as error:
            raise ConnectionResetError(self._why()) from error
        if not data and not self._channel.eof_received:
            raise ConnectionResetError(self._why())
        return data

    def send(self, data: bytes) -> int:
        try:
            taken = self._channel.send(data[:PACKET_BYTES])
        except TimeoutError:
            raise BlockingIOError from None
        except (EOFError, paramiko.SSHException, OSError) as error:
            raise ConnectionResetError(self._why()) from error
        if taken == 0:
            raise ConnectionResetError(self._why())
        return taken

    def shutdown_write(self) -> None:
        try:
            self._channel.shutdown_write()
        except (EOFError, paramiko.SSHException) as error:
            raise ConnectionResetError(self._why()) from error

    def close(self) -> None:
        self._channel.on_window = None
        close_quietly(self._channel)

    def _why(self) -> str:
        return self._channel.link.why_ended() or "the other end closed the connection"
