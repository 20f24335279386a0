"""One forwarded connection as a non-blocking stream."""

from __future__ import annotations

import contextlib
import selectors
import socket

import paramiko

from .channel import PACKET_BYTES, TransportChannel, close_quietly


class ChannelStream:
    """One forwarded connection, used by one thread; nothing blocks on the other end.

    ``recv`` and ``send`` raise ``BlockingIOError`` when there is nothing to do now and ``ConnectionResetError`` when
    the link, or the connection behind it, broke. A server that closes the channel has said all that it had to say, with
    an end of its data before (RFC 4254 5.3) or without.
    """

    def __init__(self, channel: TransportChannel) -> None:
        channel.settimeout(0.0)
        self._channel = channel
        self._wakeup: tuple[socket.socket, socket.socket] | None = None

    @property
    def closed(self) -> bool:
        return bool(self._channel.closed)

    def fileno(self) -> int:
        return int(self._channel.fileno())

    def writable(self) -> tuple[int, int]:
        """After ``send`` has raised ``BlockingIOError``: readable when there is room again."""
        if self._wakeup is None:
            raise ValueError("nothing was refused")
        return self._wakeup[0].fileno(), selectors.EVENT_READ

    def recv(self, size: int) -> bytes:
        try:
            data = self._channel.recv(size)
        except TimeoutError:
            raise BlockingIOError from None
        except (EOFError, paramiko.SSHException) as error:
            raise ConnectionResetError(self._close_reason()) from error
        if not data and not (self._channel.eof_received or self._channel.close_received):
            raise ConnectionResetError(self._close_reason())
        return data

    def send(self, data: bytes) -> int:
        if self._wakeup is not None:
            self._drain()  # whatever grants room from here on rings again
        try:
            taken = self._channel.send(data[:PACKET_BYTES])
        except TimeoutError:
            if self._wakeup is None:
                self._watch_window()
                return self.send(data)  # room may have come before that
            raise BlockingIOError from None
        except (EOFError, paramiko.SSHException, OSError) as error:
            raise ConnectionResetError(self._close_reason()) from error
        if taken == 0:
            raise ConnectionResetError(self._close_reason())
        return taken

    def shutdown_write(self) -> None:
        try:
            self._channel.shutdown_write()
        except (EOFError, paramiko.SSHException) as error:
            raise ConnectionResetError(self._close_reason()) from error

    def close(self) -> None:
        self._channel.on_window = None
        close_quietly(self._channel)
        for end in self._wakeup or ():
            end.close()

    def _watch_window(self) -> None:
        receiver, sender = self._wakeup = socket.socketpair()
        receiver.setblocking(False)
        sender.setblocking(False)

        def wake() -> None:
            with contextlib.suppress(OSError):  # it rings already, or nobody listens any more
                sender.send(b"\0")

        self._channel.on_window = wake

    def _drain(self) -> None:
        if self._wakeup is not None:
            with contextlib.suppress(BlockingIOError):
                self._wakeup[0].recv(4096)

    def _close_reason(self) -> str:
        return self._channel.channel_transport.close_reason() or "the other end closed the connection"
