"""One SSH channel: its numbers, windows, EOF and CLOSE (RFC 4254, 5). A ``ChannelHandler`` gets the events."""

from __future__ import annotations

import time
from typing import Protocol

from . import messages
from .aes_gcm import BadPacket
from .loop import Loop
from .packet_writer import MAX_DATA_BYTES
from .windows import Window


class ChannelHandler(Protocol):
    """Called in the loop's thread. The view that ``on_data`` gets is valid until ``Loop.flush``."""

    def on_opened(self) -> None: ...
    def on_refused(self, reason: int, text: str) -> None: ...
    def on_data(self, content: memoryview) -> None: ...
    def on_window(self) -> None: ...
    def on_eof(self) -> None: ...
    def on_closed(self) -> None: ...


class Channel:
    """``send_window``: bytes that the peer accepts now, 0 unless the channel is open; ``max_packet``: bytes of them in
    one message. ``eof_received``, ``close_received``, ``close_sent``: which of these messages were exchanged."""

    def __init__(self, loop: Loop, handler: ChannelHandler, host: str, port: int) -> None:
        self.peer = -1
        self.send_window = 0
        self.max_packet = MAX_DATA_BYTES
        self.eof_received = self.close_received = self.close_sent = False
        self._loop = loop
        self._handler = handler
        self._window = Window(loop.budget, loop.rtt)
        self._open_sent_at = time.monotonic()
        self._number = loop.channels.register(self.receive)
        loop.send(messages.channel_open(self._number, self._window.size, MAX_DATA_BYTES, host, port))

    @property
    def is_open(self) -> bool:
        """Whether data can be sent to the peer."""
        return self.peer >= 0 and not (self.close_sent or self.close_received)

    def send(self, content: bytes) -> int:
        """Send as much as the window allows; how many bytes that was."""
        sent = 0
        while sent < len(content) and self.send_window > 0:
            chunk = content[sent : sent + min(self.send_window, self.max_packet)]
            self.send_window -= len(chunk)
            sent += len(chunk)
            self._loop.send(messages.data(self.peer, chunk))
        return sent

    def send_eof(self) -> None:
        if self.is_open:
            self._loop.send(messages.eof(self.peer))

    def consume(self, count: int) -> None:
        """The handler has processed ``count`` received bytes: grant them to the peer again."""
        if not self.is_open or self.eof_received:
            return
        more = self._window.consume(count)
        if more:
            self._loop.send(messages.window_adjust(self.peer, more))
        if self._window.probe_due():
            self._loop.send(messages.probe(self.peer))

    def close(self) -> None:
        """Send CLOSE. The channel ends when both sides have sent theirs."""
        if not self.close_sent:
            self.close_sent, self.send_window = True, 0
            if self.peer >= 0:
                self._loop.send(messages.close(self.peer))
            if self.close_received:
                self._unregister()

    def receive(self, kind: int, message: memoryview) -> None:
        """Raises ``BadPacket`` for a message that the protocol does not allow now."""
        if kind == messages.OPEN_CONFIRMATION:
            self._on_confirmation(message)
        elif kind == messages.OPEN_FAILURE:
            self._on_open_failure(message)
        elif self.peer < 0 or self.close_received:
            raise BadPacket(f"message {kind} for a channel that is not open")
        elif kind == messages.DATA:
            self._on_data(messages.content(message))
        elif kind == messages.EXTENDED_DATA:
            self._window.received(
                messages.window_bytes(message)
            )  # a forwarded connection has no stderr; OpenSSH's client drops it, too
        elif kind == messages.WINDOW_ADJUST:
            self._on_window_adjust(messages.uint32(message, 5))
        elif kind == messages.EOF:
            self._on_eof()
        elif kind == messages.CLOSE:
            self._on_close()
        elif kind == messages.REQUEST:
            if messages.wants_reply(message) and not self.close_sent:
                self._loop.send(messages.request_failure(self.peer))
        elif kind in (messages.REQUEST_SUCCESS, messages.REQUEST_FAILURE):
            self._window.on_probe_reply()
        else:
            raise BadPacket(f"message {kind} for a forwarded connection")

    def _on_confirmation(self, message: memoryview) -> None:
        if self.peer >= 0:
            raise BadPacket("a channel was opened twice")
        self.peer, self.send_window, self.max_packet = messages.parse_confirmation(message)
        if self.max_packet == 0:
            raise BadPacket("a channel that takes no data")
        if self.max_packet > MAX_DATA_BYTES:
            self.max_packet = MAX_DATA_BYTES
        self._loop.rtt.add_sample(time.monotonic() - self._open_sent_at)
        if self.close_sent:
            self.send_window = 0
            self._loop.send(messages.close(self.peer))
        else:
            self._handler.on_opened()

    def _on_open_failure(self, message: memoryview) -> None:
        if self.peer >= 0:
            raise BadPacket("a channel was refused after it was opened")
        reason, text = messages.uint32(message, 5), bytes(messages.string(message, 9)).decode(errors="replace")
        was_closed, self.close_sent, self.close_received = self.close_sent, True, True
        if not was_closed:
            self._handler.on_refused(reason, text)
        self._unregister()

    def _on_data(self, content: memoryview) -> None:
        self._window.received(len(content))
        if not (self.close_sent or self.eof_received):
            self._handler.on_data(content)

    def _on_window_adjust(self, count: int) -> None:
        if self.close_sent:
            return
        self.send_window += count
        if self.send_window > 0xFFFFFFFF:
            raise BadPacket("a window larger than the protocol has")
        self._handler.on_window()

    def _on_eof(self) -> None:
        if self.eof_received:
            return
        self.eof_received = True
        if not self.close_sent:
            self._handler.on_eof()

    def _on_close(self) -> None:
        self.close_received, self.send_window = True, 0
        if self.close_sent:
            self._unregister()
            return
        self._handler.on_eof()
        if not self.close_sent:  # the handler may have closed it
            self.close_sent = True
            self._loop.send(messages.close(self.peer))
            self._unregister()

    def _unregister(self) -> None:
        self._loop.channels.unregister(self._number, self._window.credit)
        self._window.release()
        self._handler.on_closed()
        del self._handler  # it refers to this channel: without the cycle both are freed at once
