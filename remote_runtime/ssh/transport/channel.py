"""paramiko's channels, owned by one thread: nothing follows a channel's CLOSE, nothing outgrows its window.

This module, ``link`` and ``packets`` are the only ones that lean on undocumented attributes of paramiko (tested with
3.4, 4.0 and 5.1).
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
_ParamikoChannel: Any = paramiko.Channel


class ChannelTransport(Protocol):
    """What a channel needs of the ``Link`` that opened it."""

    def close_reason(self) -> str: ...
    def close(self) -> None: ...
    def _send_user_message(self, data: paramiko.Message) -> None: ...


class TransportChannel(_ParamikoChannel):  # type: ignore[misc]  # paramiko's types leave out the methods that we override
    """A channel that one thread owns.

    paramiko builds a message under the channel's lock and sends it after releasing it, while its own thread answers
    the server's CLOSE: EOF or data could follow our CLOSE, and OpenSSH then drops the whole connection. So the owner
    sends while it holds the lane, and a CLOSE that arrives meanwhile is answered when the lane is free again.

    ``activity`` is set whenever something happened; ``refusal`` is (reason number, text) if the server refused to
    open it; ``exit_signal`` the name of the signal that ended the remote command; ``on_window`` is called (in
    paramiko's thread) when more may be sent; ``closed_there``: the server has closed it, while the link goes on.
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
        # What was read counts, also when nothing more can be asked for: the next call tells that the link is gone.
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException), self._sending():
            more = self._check_add_window(len(data))
            if more > 0:
                message = paramiko.Message()
                message.add_byte(bytes([93]))  # SSH_MSG_CHANNEL_WINDOW_ADJUST
                message.add_int(self.remote_chanid)
                message.add_int(more)
                self.channel_transport._send_user_message(message)
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

    def request(self, kind: str, *fields: object, wants_reply: bool) -> None:
        """A channel request; the answer, if wanted, arrives as ``event`` (see ``Link.request``)."""
        message = paramiko.Message()
        message.add_byte(bytes([98]))  # SSH_MSG_CHANNEL_REQUEST, RFC 4254 5.4
        message.add_int(self.remote_chanid)
        message.add_string(kind)
        message.add_boolean(wants_reply)
        for value in fields:
            if isinstance(value, int):
                message.add_int(value)
            else:
                message.add_string(value)  # type: ignore[arg-type]  # bytes or str, both are encoded
        with self._sending():
            if not self.closed:
                self.channel_transport._send_user_message(message)

    @contextmanager
    def _sending(self) -> Iterator[None]:
        try:
            with self._send_lock:
                yield
        finally:
            self._answer_close()

    def _handle_close(self, m: paramiko.Message) -> None:
        self.close_received = True  # before whoever reads finds the end of what came
        self._unanswered_close = m
        self._answer_close()

    def _answer_close(self) -> None:
        while self._unanswered_close is not None and self._send_lock.acquire(blocking=False):
            try:
                message, self._unanswered_close = self._unanswered_close, None
                if message is not None:
                    super()._handle_close(message)
            finally:
                self._send_lock.release()

    def _handle_request(self, m: paramiko.Message) -> None:
        start = m.packet.tell()
        if m.get_text() == "exit-signal":
            m.get_boolean()
            self.exit_signal = m.get_text()[:32]
        m.packet.seek(start)
        super()._handle_request(m)
        self.state_changed.set()

    def _feed(self, m: Any) -> None:
        super()._feed(m)
        self._check_unread()

    def _feed_extended(self, m: paramiko.Message) -> None:
        super()._feed_extended(m)
        self._check_unread()

    def _check_unread(self) -> None:
        """A hostile server must not fill our memory by ignoring the window."""
        if len(self.in_buffer) + len(self.in_stderr_buffer) > 2 * WINDOW_BYTES:
            raise paramiko.SSHException("the server sends more than it may")
        self.state_changed.set()

    def _window_adjust(self, m: paramiko.Message) -> None:
        super()._window_adjust(m)
        self.state_changed.set()
        if self.on_window is not None:
            self.on_window()

    def _handle_eof(self, m: paramiko.Message) -> None:
        super()._handle_eof(m)
        self.state_changed.set()

    def _set_closed(self) -> None:
        super()._set_closed()
        self.state_changed.set()
        if self.on_window is not None:
            self.on_window()


def has_ended(channel: TransportChannel) -> bool:
    """Whether the server has told how the command ended. Programs that it left behind may keep the channel open."""
    return channel.exit_status != -1 or channel.exit_signal is not None


def exit_status(channel: TransportChannel) -> int | None:
    """Of a command that has ended: the exit status, 128 + N after signal N, None if the server told neither."""
    if channel.exit_status != -1:
        return int(channel.exit_status)
    if channel.exit_signal is not None:
        number = getattr(signal, f"SIG{channel.exit_signal}", None)
        return 128 + int(number) if isinstance(number, signal.Signals) else 255
    return None


def close_quietly(channel: TransportChannel) -> None:
    """A dead link has closed it already."""
    try:
        channel.close()
    except (OSError, EOFError, paramiko.SSHException):
        channel.state_changed.set()


# RFC 4254, 5: paramiko's own table names the methods of its own class.
CHANNEL_HANDLERS = {
    93: TransportChannel._window_adjust,
    94: TransportChannel._feed,
    95: TransportChannel._feed_extended,
    96: TransportChannel._handle_eof,
    97: TransportChannel._handle_close,
    98: TransportChannel._handle_request,
    99: TransportChannel._request_success,
    100: TransportChannel._request_failed,
}


def open_message(kind: str, number: int, target: tuple[str, int] | None) -> paramiko.Message:
    """SSH_MSG_CHANNEL_OPEN (RFC 4254 5.1, 7.2). ``target``: where to; with port 0, a unix socket (OpenSSH's PROTOCOL
    2.4)."""
    message = paramiko.Message()
    message.add_byte(bytes([90]))
    message.add_string(kind)
    for field in (number, WINDOW_BYTES, PACKET_BYTES):
        message.add_int(field)
    if target is not None and target[1] == 0:
        message.add_string(target[0])
        message.add_string("")
        message.add_int(0)
    elif target is not None:
        for host, port in (target, ("127.0.0.1", 0)):
            message.add_string(host)
            message.add_int(port)
    return message


class WakeupPipe:
    """The interface is that of ``paramiko.pipe``."""

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
