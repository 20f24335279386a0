"""paramiko's Channel for use by one thread: sends nothing after its CLOSE, and buffers no more than its window.

This module, ``transport``, ``packetizer`` and ``auth_handler`` are the only ones that rely on undocumented attributes
of paramiko (tested with 3.4, 4.0 and 5.1).
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import paramiko
from paramiko.buffered_pipe import PipeTimeout
from paramiko.pipe import make_or_pipe

WINDOW_BYTES = 2 << 20
PACKET_BYTES = 1 << 15
_CHANNEL_OPEN, _WINDOW_ADJUST, _CHANNEL_REQUEST = 90, 93, 98  # RFC 4254 9
_ParamikoChannel: Any = paramiko.Channel


class ChannelTransport(Protocol):
    """The methods of ``Transport`` that a channel uses."""

    def close_reason(self) -> str: ...
    def close(self) -> None: ...
    def _send_user_message(self, data: paramiko.Message) -> None: ...


class TransportChannel(_ParamikoChannel):  # type: ignore[misc]  # paramiko's types leave out the methods that it overrides
    """A channel that one thread owns.

    paramiko builds a message under the channel's lock and sends it after releasing that, while its own thread answers
    the server's CLOSE: EOF or data could follow its CLOSE, and OpenSSH then drops the whole connection. So the owner
    holds ``_send_lock`` while it sends, and a CLOSE that arrives meanwhile is answered when the lock is free again.

    ``state_changed`` is set by every message for the channel. ``refusal``: (reason number, text) if the server refused
    to open it. ``exit_signal``: the name of the signal that ended the remote command. ``on_window``: called in
    paramiko's thread when more may be sent. ``close_received``: the server has closed it, and the connection lives.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.state_changed = threading.Event()
        self.refusal: tuple[int, str] | None = None
        self.exit_signal: str | None = None
        self.on_window: Callable[[], None] | None = None
        self.close_received = False
        self._send_lock = threading.RLock()
        self._unanswered_close: paramiko.Message | None = None

    @property
    def channel_transport(self) -> ChannelTransport:
        transport: ChannelTransport = self.transport
        return transport

    def fileno(self) -> int:
        with self.lock:
            pipe: Any = self._pipe  # type: ignore[has-type]  # paramiko's types leave it out
            if pipe is None:
                self._pipe = pipe = WakeupPipe()
                stdout, stderr = make_or_pipe(pipe)
                self.in_buffer.set_event(stdout)
                self.in_stderr_buffer.set_event(stderr)
            return int(pipe.fileno())

    def recv(self, nbytes: int) -> bytes:
        return self._read(self.in_buffer, nbytes)

    def recv_stderr(self, nbytes: int) -> bytes:
        return self._read(self.in_stderr_buffer, nbytes)

    def _read(self, buffer: Any, nbytes: int) -> bytes:
        try:
            data = bytes(buffer.read(nbytes, self.timeout))
        except PipeTimeout as error:
            raise TimeoutError from error
        # The data is returned even if the window cannot be enlarged: the next call reports that the connection is lost.
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException), self._sending():
            more = self._check_add_window(len(data))
            if more > 0:
                self.channel_transport._send_user_message(message(_WINDOW_ADJUST, self.remote_chanid, more))
        return data

    def send(self, s: bytes) -> int:
        with self._sending():
            return int(super().send(s))

    def shutdown(self, how: int) -> None:
        with self._sending():
            super().shutdown(how)

    def close(self) -> None:
        with self._sending():
            super().close()

    def request(self, kind: str, *fields: int | str | bytes, wants_reply: bool) -> None:
        """Sends a channel request. The answer, if wanted, sets ``event`` (see ``Transport.request``)."""
        with self._sending():
            if not self.closed:
                request = message(_CHANNEL_REQUEST, self.remote_chanid, kind, wants_reply, *fields)
                self.channel_transport._send_user_message(request)

    @contextmanager
    def _sending(self) -> Iterator[None]:
        try:
            with self._send_lock:
                yield
        finally:
            self._answer_close()

    def _handle_close(self, m: paramiko.Message) -> None:
        self.close_received = True  # before the reader finds the end of the data
        self._unanswered_close = m
        self._answer_close()

    def _answer_close(self) -> None:
        while self._unanswered_close is not None and self._send_lock.acquire(blocking=False):
            try:
                close, self._unanswered_close = self._unanswered_close, None
                if close is not None:
                    super()._handle_close(close)
            finally:
                self._send_lock.release()

    def _handle_request(self, m: paramiko.Message) -> None:
        start = m.packet.tell()
        if m.get_text() == "exit-signal":
            m.get_boolean()
            self.exit_signal = m.get_text()[:32]
        m.packet.seek(start)
        super()._handle_request(m)

    def _set_closed(self) -> None:
        super()._set_closed()
        self.state_changed.set()
        if self.on_window is not None:
            self.on_window()


def has_ended(channel: TransportChannel) -> bool:
    """Whether the server has sent how the command ended. Programs that it left running may keep the channel open."""
    return channel.exit_status != -1 or channel.exit_signal is not None


def exit_status(channel: TransportChannel) -> int | None:
    """The exit status of the command, 128 + N after signal N; None if the server has sent neither."""
    if channel.exit_status != -1:
        return int(channel.exit_status)
    if channel.exit_signal is not None:
        number = getattr(signal, f"SIG{channel.exit_signal}", None)
        return 128 + int(number) if isinstance(number, signal.Signals) else 255
    return None


def close_quietly(channel: TransportChannel) -> None:
    """``close``, also where the connection is lost already."""
    try:
        channel.close()
    except (OSError, EOFError, paramiko.SSHException):
        channel.state_changed.set()


def _handle_window(channel: TransportChannel, m: paramiko.Message) -> None:
    channel._window_adjust(m)
    channel.state_changed.set()
    if channel.on_window is not None:
        channel.on_window()


def _then_notify(handle: Callable[[Any, Any], None]) -> Callable[[TransportChannel, Any], None]:
    def handler(channel: TransportChannel, m: Any) -> None:
        """Raises ``paramiko.SSHException`` when the server ignores the window, which would fill the memory."""
        handle(channel, m)
        if len(channel.in_buffer) + len(channel.in_stderr_buffer) > 2 * WINDOW_BYTES:
            raise paramiko.SSHException("the server sends more than it may")
        channel.state_changed.set()

    return handler


# RFC 4254 5. paramiko's own table holds the methods of its own class.
CHANNEL_HANDLERS = {
    _WINDOW_ADJUST: _handle_window,
    94: _then_notify(_ParamikoChannel._feed),
    95: _then_notify(_ParamikoChannel._feed_extended),
    96: _then_notify(_ParamikoChannel._handle_eof),
    97: TransportChannel._handle_close,
    _CHANNEL_REQUEST: _then_notify(TransportChannel._handle_request),
    99: TransportChannel._request_success,
    100: TransportChannel._request_failed,
}


def open_message(kind: str, number: int, target: tuple[str, int] | None) -> paramiko.Message:
    """SSH_MSG_CHANNEL_OPEN (RFC 4254 5.1, 7.2). ``target``: (host, port), or, with port 0, the path of a unix socket
    (OpenSSH's PROTOCOL 2.4)."""
    fields: tuple[int | str, ...] = ()
    if target is not None:
        fields = (*target, "127.0.0.1", 0) if target[1] else (target[0], "", 0)
    return message(_CHANNEL_OPEN, kind, number, WINDOW_BYTES, PACKET_BYTES, *fields)


def message(number: int, *fields: bool | int | str | bytes) -> paramiko.Message:
    """An SSH message; the fields are encoded by their types (RFC 4251 5)."""
    made = paramiko.Message()
    made.add_byte(bytes([number]))
    for field in fields:
        if isinstance(field, bool):
            made.add_boolean(field)
        elif isinstance(field, int):
            made.add_int(field)
        else:
            made.add_string(field)
    return made


class WakeupPipe:
    """A descriptor for ``select`` that is readable while it is set; any thread may use it, also after ``close``.

    It has the interface of ``paramiko.pipe``. paramiko's own can be closed while its other thread writes to it: that
    thread gets EPIPE or EBADF, which ends the whole connection, or writes to whatever has the descriptor's number now.
    """

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._lock = threading.Lock()
        self._set = self._forever = self._closed = False

    def fileno(self) -> int:
        return self._receiver.fileno()

    def set(self) -> None:
        with self._lock:
            if not (self._set or self._closed):
                self._set = True
                self._sender.send(b"*")

    def set_forever(self) -> None:
        self._forever = True
        self.set()

    def clear(self) -> None:
        with self._lock:
            if self._set and not (self._forever or self._closed):
                self._receiver.recv(1)
                self._set = False

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._receiver.close()
            self._sender.close()
