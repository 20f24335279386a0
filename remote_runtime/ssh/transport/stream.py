"""One forwarded connection as a non-blocking stream."""

from __future__ import annotations

import selectors

import paramiko

from .channel import PACKET_BYTES, TransportChannel, WakeupPipe, close_quietly


class ChannelStream:
    """A ``tunnel.identity.Stream`` over a channel, used by one thread.

    ``recv`` and ``send`` raise ``ConnectionResetError`` when the SSH connection, or the one behind the channel, broke.
    A channel that the server closes without EOF (RFC 4254 5.3) has ended cleanly, too.
    """

    def __init__(self, channel: TransportChannel) -> None:
        channel.settimeout(0.0)
        self._channel = channel
        self._window_opened: WakeupPipe | None = None

    @property
    def closed(self) -> bool:
        return bool(self._channel.closed)

    def fileno(self) -> int:
        return int(self._channel.fileno())

    def writable(self) -> tuple[int, int]:
        """After ``send`` has raised ``BlockingIOError``: the descriptor and event by which to wait for room."""
        if self._window_opened is None:
            raise ValueError("nothing was refused")
        return self._window_opened.fileno(), selectors.EVENT_READ

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
        if self._window_opened is not None:
            self._window_opened.clear()  # a larger window from here on sets it again
        try:
            taken = self._channel.send(data[:PACKET_BYTES])
        except TimeoutError:
            if self._window_opened is None:
                self._window_opened = WakeupPipe()
                self._channel.on_window = self._window_opened.set
                return self.send(data)  # the window may have become larger before that
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
        if self._window_opened is not None:
            self._window_opened.close()

    def _close_reason(self) -> str:
        return self._channel.channel_transport.close_reason() or "the other end closed the connection"
