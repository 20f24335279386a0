"""One SSH connection: paramiko's Transport, with a deadline for every wait and a ``close`` that joins its thread."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import paramiko

from ...core.deadline import Deadline
from ...core.errors import DeadlinePassed, SshError
from ...core.profile import Algorithms
from ...core.sanitize import clean_line, redact
from ..forwarder.loop import Loop
from .algorithms import KEX_INFO, ignore_macs_of_aead, restrict_algorithms
from .channel import CHANNEL_HANDLERS, PACKET_BYTES, WINDOW_BYTES, TransportChannel, message, open_message
from .packetizer import BoundedPacketizer, FastPacketizer
from .server_text import KeyOptions, ServerText, decode_text, parse_key_options, read_version

_TICK_S = 0.1
_GLOBAL_REQUEST = 80  # RFC 4254 4
_ANY = Algorithms()
_ParamikoTransport: Any = paramiko.Transport


class Transport(_ParamikoTransport):  # type: ignore[misc]  # paramiko's types leave out the methods that it overrides
    """``sock``: a connected socket or ``TransportChannel``; the transport closes it. ``key_types``: the host key
    algorithms to ask for, best first. ``sock_close_reason``: why ``sock`` was closed, where its owner knows that.

    ``server_text``: the server's messages for a person. ``server_algorithms``: its lists, by paramiko's names.
    ``version_received_at``: monotonic clock. ``disconnect_text``: its DISCONNECT, empty if there was none."""

    active: bool
    packetizer: BoundedPacketizer
    _channel_handler_table = CHANNEL_HANDLERS
    _kex_info = KEX_INFO

    def __init__(
        self, sock: Any, key_types: Sequence[str], sock_close_reason: Callable[[], str] = str, only: Algorithms = _ANY
    ) -> None:
        silence_paramiko()
        super().__init__(
            sock,
            default_window_size=WINDOW_BYTES,
            default_max_packet_size=PACKET_BYTES,
            packetizer_class=FastPacketizer if isinstance(sock, socket.socket) else BoundedPacketizer,
        )
        if isinstance(self.packetizer, FastPacketizer):
            self.packetizer.clear_to_send = self.clear_to_send
        self.packetizer.on_write_stall = self._on_write_stall
        self.write_deadline = self.packetizer.write_deadline
        self.server_text = ServerText()
        self.server_algorithms: Mapping[str, Any] = {}
        self.sock_close_reason = sock_close_reason
        self.disconnect_text = ""
        self.version_received_at = 0.0
        self._close_text = ""
        self.key_options = KeyOptions()
        self.has_run_command = False
        self._pending_replies: deque[threading.Event] = deque()
        self._replies_lock = threading.Lock()
        self._abandoned: dict[int, TransportChannel] = {}
        self._deferred_messages: list[paramiko.Message] = []
        restrict_algorithms(self, only)
        self._preferred_keys = tuple(name for name in key_types if name in self._key_info)

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """paramiko's own would also ask for certificates, after the keys."""
        return tuple(self._preferred_keys)

    def negotiate(self, deadline: Deadline, on_wait: Callable[[], None]) -> None:
        """The key exchange; ``on_wait`` is called every ``_TICK_S`` meanwhile. Raises ``EOFError``, ``OSError`` or
        ``paramiko.SSHException``; ``TimeoutError`` at the deadline; ``Interrupted``."""
        self.banner_timeout = self.handshake_timeout = deadline.remaining_s()
        done = threading.Event()
        self.start_client(event=done)
        while not done.wait(_TICK_S):
            deadline.check()
            if not self.active:
                break
            if deadline.passed():
                raise TimeoutError("no key exchange in time")
            on_wait()
        if not self.active or not self.initial_kex_done:
            raise self.saved_exception or EOFError("the connection was closed")

    @property
    def loop(self) -> Loop | None:
        """The event loop of forwarded connections; None where the server offers no AES-GCM."""
        return self.packetizer.loop if isinstance(self.packetizer, FastPacketizer) else None

    def open(self, kind: str, deadline: Deadline, target: tuple[str, int] | None = None) -> TransportChannel:
        """A new channel; its ``refusal`` is set when the server refused. Raises ``SshError`` ``ssh-unreachable`` when
        the connection is lost, ``DeadlinePassed``, ``Interrupted``."""
        with self.lock:
            number = self._next_channel()
            channel = TransportChannel(number)
            self._channels.put(number, channel)
            answered = self.channel_events[number] = threading.Event()
            self.channels_seen[number] = True
            channel._set_transport(self)
            channel._set_window(WINDOW_BYTES, PACKET_BYTES)
        self.send_within(open_message(kind, number, target), deadline)
        try:
            self._wait(answered, deadline, "opening a channel")
        except BaseException:
            self._abandoned[number] = channel  # to be closed if the server opens it later
            raise
        return channel

    def request(self, channel: TransportChannel, kind: str, *fields: int | str | bytes, deadline: Deadline) -> bool:
        """Sends a channel request; whether it succeeded. Raises like ``open``."""
        channel.event.clear()
        channel.event_ready = False
        with self.write_deadline.until(deadline):
            channel.request(kind, *fields, wants_reply=True)
        self._wait(channel.event, deadline, f"the request {kind}")
        return bool(channel.event_ready)

    def round_trip_s(self, within_s: float) -> float:
        """How long the server takes to answer a request that it does not know; any answer counts (RFC 4254 4).

        While other packets arrive the connection lives, and the answer may take up to four times ``within_s``.
        Raises ``SshError`` ``ssh-unreachable``.
        """
        answered = threading.Event()
        start = time.monotonic()
        deadline = Deadline(within_s)
        with self._replies_lock:  # the order of the answers is the order of the requests
            self._pending_replies.append(answered)
            self.send_within(message(_GLOBAL_REQUEST, "keepalive@openssh.com", True), deadline)
        while not answered.wait(min(_TICK_S, within_s)):
            quiet_since = max(start, self.packetizer.last_received_at)
            now = time.monotonic()
            if not self.active or now - quiet_since > within_s or now - start > 4 * within_s:
                raise self.lost_error(f"no answer within {within_s:g} s")
        if not self.active and not answered.is_set():
            raise self.lost_error()
        return time.monotonic() - start

    def send_within(self, data: paramiko.Message, deadline: Deadline) -> None:
        try:
            with self.write_deadline.until(deadline):
                self._send_user_message(data)
        except (EOFError, OSError, paramiko.SSHException) as error:
            deadline.check()
            raise self.lost_error("it takes no more data") from error

    def lost_error(self, why: str = "") -> SshError:
        return SshError("ssh-unreachable", "The SSH connection is lost", self.close_reason() or why)

    def close_reason(self) -> str:
        """Empty while the connection lives."""
        if self.active:
            return ""
        if known := self._close_text or self.disconnect_text or self.sock_close_reason():
            return known
        error = self.saved_exception
        if error is None or isinstance(error, EOFError):
            return "the server closed the connection"
        return clean_line(str(error) or type(error).__name__, 200)

    def close(self, why: str = "closed here") -> None:
        """Close the socket and wait for the thread, at most 2 s."""
        if self.active:
            self._close_text = self._close_text or why
        self.active = False
        _shutdown(self.sock)
        if self.is_alive() and threading.current_thread() is not self:
            self.join(2.0)
        self.packetizer.complete_handshake()  # cancels a timer thread that would keep the process alive
        self.packetizer.close()
        for channel in list(self._channels.values()):
            channel._unlink()

    def _on_write_stall(self) -> None:
        self._close_text = self._close_text or "the link takes no more data"
        self.active = False
        _shutdown(self.sock)

    def _wait(self, event: threading.Event, deadline: Deadline, what: str) -> None:
        while not event.wait(_TICK_S):
            deadline.check()
            if not self.active:
                raise self.lost_error()
            if deadline.passed():
                raise DeadlinePassed(f"{what} took more than {deadline.timeout_s:.0f} s", code="deadline-passed")
        if not self.active:
            raise self.lost_error()

    # The methods of paramiko below wait without a deadline, or share one slot among all threads.

    def run(self) -> None:
        try:
            super().run()
        finally:
            self.packetizer.end()

    def _check_banner(self) -> None:
        read_version(self, self.server_text)
        self.version_received_at = time.monotonic()

    def _really_parse_kex_init(self, m: paramiko.Message, ignore_first_byte: bool = False) -> dict[str, Any]:
        parsed: dict[str, Any] = super()._really_parse_kex_init(m, ignore_first_byte)
        self.server_algorithms = {name: list(value) for name, value in parsed.items() if isinstance(value, list)}
        return ignore_macs_of_aead(parsed)

    def _activate_outbound(self) -> None:
        if isinstance(self.packetizer, FastPacketizer):
            self.packetizer.set_ciphers((self.local_cipher, self.remote_cipher))
        super()._activate_outbound()

    def _send_user_message(self, data: paramiko.Message) -> None:
        if threading.current_thread() is self:
            # The thread that finishes the key exchange must not wait for its end.
            if self.clear_to_send.is_set():
                self._send_message(data)
            else:
                self._deferred_messages.append(data)
            return
        deadline = None
        while True:
            if not self.active:
                raise EOFError
            if self.clear_to_send.wait(_TICK_S) and self.clear_to_send_lock.acquire(timeout=_TICK_S):
                if self.clear_to_send.is_set():
                    break
                self.clear_to_send_lock.release()
            deadline = deadline or self.write_deadline.deadline()
            if deadline.passed() or deadline.cancelled.is_set():
                raise EOFError
        try:
            self._send_message(data)
        finally:
            self.clear_to_send_lock.release()

    def _parse_newkeys(self, m: paramiko.Message) -> None:
        super()._parse_newkeys(m)
        deferred, self._deferred_messages = self._deferred_messages, []
        for data in deferred:
            self._send_message(data)

    def _parse_channel_open_success(self, m: paramiko.Message) -> None:
        number = m.get_int()
        m.rewind()
        super()._parse_channel_open_success(m)
        abandoned = self._abandoned.pop(number, None)
        if abandoned is not None:
            abandoned.close()

    def _parse_channel_open_failure(self, m: paramiko.Message) -> None:
        number, reason, text = m.get_int(), m.get_int(), decode_text(m.get_string())
        with self.lock:
            channel = self._channels.get(number)
            answered = self.channel_events.pop(number, None)
            self._channels.delete(number)
        self._abandoned.pop(number, None)
        if channel is not None and answered is not None:
            channel.refusal = (reason, clean_line(redact(text), 200))
            answered.set()

    def _parse_request_success(self, m: paramiko.Message) -> None:
        with contextlib.suppress(IndexError):
            self._pending_replies.popleft().set()

    _parse_request_failure = _parse_request_success

    def _parse_debug(self, m: paramiko.Message) -> None:
        m.get_boolean()
        self.key_options = parse_key_options(decode_text(m.get_string())) or self.key_options

    def _parse_disconnect(self, m: paramiko.Message) -> None:
        m.get_int()
        text = clean_line(redact(decode_text(m.get_string())), 200)
        self.disconnect_text = f"the server disconnected: {text}" if text else "the server disconnected"


def _shutdown(sock: Any) -> None:
    """Wakes the thread that reads, which alone may close the descriptor safely."""
    if isinstance(sock, TransportChannel):
        sock.channel_transport.close()  # a jump host's connection serves this one only
        return
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def silence_paramiko() -> None:
    """Keep paramiko's log out of this one, and its warnings off stderr, where Python prints those of a bare logger."""
    for name in ("paramiko", "sshtunnel.SSHTunnelForwarder"):
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.handlers = logger.handlers or [logging.NullHandler()]
