"""One forwarded connection: an SSH channel to a remote port, identity-checked if required, and the local socket
connected to it."""

from __future__ import annotations

import selectors
import socket
from typing import Protocol

from ...core.errors import HealthError, RemoteRuntimeError
from ...core.model import format_address
from ...tunnel.identity import IdentityCheck
from .channel import Channel
from .client import Client, close_after_sending
from .loop import Loop
from .packet_writer import MAX_DATA_BYTES, READ_BUFFERS
from .write_buffer import WriteBuffer

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
OPEN_TIMEOUT_S = 15.0
_DRAIN_TIMEOUT_S = 5.0


class ForwardedConnectionOwner(Protocol):
    """The pool that a connection belongs to."""

    host: str
    port: int
    open_timeout_s: float

    def open_error(self, reason: int, text: str) -> RemoteRuntimeError: ...
    def on_failed(self, client: Client, error: RemoteRuntimeError) -> None: ...
    def on_closed(self, connection: ForwardedConnection) -> None: ...


class ForwardedConnection:
    """Used in the loop's thread only. It opens a channel for ``client``, checks the server's identity, and serves the
    client."""

    def __init__(
        self, loop: Loop, owner: ForwardedConnectionOwner, client: Client, identity_check: IdentityCheck | None
    ) -> None:
        self._client: Client | None = client
        self._loop = loop
        self._owner = owner
        self._identity_check = identity_check
        self._is_serving = False
        self._write_buffer = WriteBuffer()
        self._unsent = b""
        self._buffers_per_read = 1
        self._watched_events = 0
        self._client_eof = self._client_shut_down = self._channel_closed = False
        self._is_draining = False
        self._timer = loop.call_later(owner.open_timeout_s, self._on_open_timeout)
        self._channel = Channel(loop, self, owner.host, owner.port)

    # ── called by the pool

    def abort(self, error: RemoteRuntimeError) -> None:
        """Send the client what has arrived, reset it, and close the channel. ``error``: for a client that is not served
        yet."""
        if not self._is_serving:
            self._fail(error)
            return
        client, self._client = self._client, None
        if client is not None:
            self._watch(client, 0)
            close_after_sending(
                client, self._write_buffer.remaining(), eof=self._channel.eof_received or self._channel.close_received
            )
        self._close()

    # ── called by the channel

    def on_opened(self) -> None:
        if self._identity_check is None:
            self._serve()
        else:
            self._unsent = self._identity_check.request
            self._send_unsent()

    def on_refused(self, reason: int, text: str) -> None:
        self._fail(self._owner.open_error(reason, text))

    def on_data(self, content: memoryview) -> None:
        if self._is_serving or self._identity_check is None:
            self._write_buffer.append(content)
            self._loop.schedule_flush(self.flush_to_client)
        else:
            self._channel.consume(len(content))
            self._feed_identity_check(self._identity_check, bytes(content))

    def on_window(self) -> None:
        self._send_unsent()
        if self._is_serving:
            self.update_events()

    def on_eof(self) -> None:
        if self._is_serving or self._identity_check is None:
            self._loop.schedule_flush(self.flush_to_client)
        else:
            self._fail(self._identity_check.eof_error())

    def on_closed(self) -> None:
        self._channel_closed = True
        self._report_closed()

    def _feed_identity_check(self, identity_check: IdentityCheck, content: bytes) -> None:
        try:
            if identity_check.feed(content):
                self._serve()
        except RemoteRuntimeError as error:
            self._fail(error)

    def _serve(self) -> None:
        self._timer.cancel()
        self._is_serving = True
        if self._client is not None:
            self._client.handler.on_opened()
        self._read()

    def _on_open_timeout(self) -> None:
        what = f"{format_address(self._owner.host, self._owner.port)} on the machine does not respond"
        self._fail(HealthError("not-answering", what, f"no response within {self._owner.open_timeout_s:.0f} s"))

    def _fail(self, error: RemoteRuntimeError) -> None:
        client, self._client = self._client, None
        if client is not None:
            self._owner.on_failed(client, error)
        self._close()

    # ── from the channel to the client

    def flush_to_client(self) -> None:
        """Write the received data to the client, then its EOF."""
        client = self._client
        if client is None:
            self._write_buffer.clear()
            return
        try:
            if self._write_buffer.pending_bytes:
                delivered = self._write_buffer.send_to(client.sock)
                self._channel.consume(delivered)
                client.handler.on_transfer(0, delivered)
            channel = self._channel
            if (channel.eof_received or channel.close_received) and not self._write_buffer.pending_bytes:
                self._forward_eof(client)
        except OSError:
            self._close(reset=True)
        if (
            self._write_buffer.pending_bytes or self._watched_events != _READ
        ):  # usually nothing is pending and nothing changes
            self.update_events()

    def _forward_eof(self, client: Client) -> None:
        # A channel may close without an EOF before (RFC 4254 5.3); asyncssh does that.
        if not self._client_shut_down:
            self._client_shut_down = True
            client.sock.shutdown(socket.SHUT_WR)
        if self._client_shut_down and self._client_eof:
            self._close()
        elif self._channel.close_received and not self._is_draining:
            # Closing a socket with unread input resets it, and the data sent last could be lost.
            self._is_draining = True
            self._timer = self._loop.call_later(_DRAIN_TIMEOUT_S, self._close)

    # ── from the client to the channel

    def on_socket_ready(self, events: int) -> None:
        """``events``: for which the client's socket is ready."""
        if events & _WRITE:
            self.flush_to_client()
        if events & _READ and self._is_draining:
            self._discard_input()
        elif events & _READ:
            self._read()

    def _read(self) -> None:
        """Read one buffer at a time, and several while the client fills them."""
        client, channel, loop = self._client, self._channel, self._loop
        if client is None or not self._can_read() or not loop.can_send():
            self.update_events()
            return
        buffers = self._buffers_per_read if channel.max_packet == MAX_DATA_BYTES else 1
        try:
            count = loop.read_buffers.read(client.sock, channel.send_window, buffers, channel.max_packet)
        except (BlockingIOError, InterruptedError):
            self.update_events()
            return
        except OSError:
            self._close(reset=True)
            return
        if count == 0:
            self._on_client_eof()
        elif not (client.has_sent or client.on_first_bytes(loop.read_buffers.content(1))):
            self._close()
            return
        else:
            client.handler.on_transfer(count, 0)
            channel.send_window -= count
            loop.send_from_buffers(channel.peer, count)
            if count < MAX_DATA_BYTES:
                self._buffers_per_read = 1
            elif count >= buffers * MAX_DATA_BYTES:
                self._buffers_per_read = READ_BUFFERS
        self.update_events()

    def _on_client_eof(self) -> None:
        self._client_eof = True
        if self._client_shut_down:
            self._close()  # both directions have ended
        else:
            self._channel.send_eof()

    def _discard_input(self) -> None:
        try:
            if self._client is None or self._client.sock.recv(MAX_DATA_BYTES):
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass  # the client has closed, which ends the wait
        self._close()

    def _send_unsent(self) -> None:
        if self._unsent:
            self._unsent = self._unsent[self._channel.send(self._unsent) :]

    def _can_read(self) -> bool:
        return self._channel.send_window > 0 and not self._client_eof and not self._unsent

    def update_events(self) -> None:
        """Select the client's socket for the events that can be handled now."""
        client = self._client
        if client is None:
            return
        events = _WRITE if self._write_buffer.pending_bytes else 0
        if self._is_draining:
            events |= _READ
        elif self._can_read():
            if self._loop.can_send():
                events |= _READ
            else:
                self._loop.wait_writable(self.update_events)
        self._watch(client, events)

    def _watch(self, client: Client, events: int) -> None:
        before = self._watched_events
        if events != before:
            self._watched_events = events
            self._loop.watch(client.sock, before, events, self.on_socket_ready)

    def _close(self, *, reset: bool = False) -> None:
        """Close the client and the channel."""
        self._timer.cancel()
        client, self._client = self._client, None
        if client is not None:
            self._watch(client, 0)
            client.reset() if reset else client.close()
        self._write_buffer.clear()
        self._channel.close()
        self._report_closed()

    def _report_closed(self) -> None:
        if self._channel_closed and self._client is None:
            self._owner.on_closed(self)
