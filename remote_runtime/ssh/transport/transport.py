"""One SSH connection: paramiko's Transport, with deadlines on every wait and an end that joins its thread."""

from __future__ import annotations

import contextlib
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
from ...core.sanitize import clean_line, redacted
from ..forwarder.loop import Loop
from .algorithms import KEX_INFO, narrow, without_needless_macs
from .channel import CHANNEL_HANDLERS, PACKET_BYTES, WINDOW_BYTES, LinkChannel, opening
from .hook import FastPacketizer
from .key_options import KeyOptions, read_options
from .packetizer import BoundedPacketizer
from .quiet import silence_paramiko
from .version_exchange import Said, as_text, read_version

_TICK_S = 0.1
_ANY = Algorithms()
_Transport: Any = paramiko.Transport


class Link(_Transport):  # type: ignore[misc]  # paramiko's types leave out the methods that we override
    """``sock`` (a socket or a ``LinkChannel``) is connected and belongs to the link from now on. ``key_types``: the
    host key algorithms to ask for, best first. ``why_sock_ended``: if that is known. ``end`` closes it; nothing of
    paramiko reaches stderr. ``said``: the server's words for a person. ``offered``: its algorithms, by paramiko's names
    of the lists. ``greeted_at``: when its version came. ``disconnect_text``: why it disconnected, if it said so."""

    active: bool
    packetizer: BoundedPacketizer
    _channel_handler_table = CHANNEL_HANDLERS
    _kex_info = KEX_INFO

    def __init__(
        self, sock: Any, key_types: Sequence[str], why_sock_ended: Callable[[], str] = str, only: Algorithms = _ANY
    ) -> None:
        silence_paramiko()
        super().__init__(
            sock,
            default_window_size=WINDOW_BYTES,
            default_max_packet_size=PACKET_BYTES,
            packetizer_class=FastPacketizer if isinstance(sock, socket.socket) else BoundedPacketizer,
        )
        if isinstance(self.packetizer, FastPacketizer):
            self.packetizer.gate = self.clear_to_send
        self.packetizer.stalled = self._stalled
        self.patience = self.packetizer.patience
        self.said = Said()
        self.offered: Mapping[str, Any] = {}
        self.why_sock_ended = why_sock_ended
        self.disconnect_text = ""
        self.greeted_at = 0.0
        self._end_text = ""
        self.key_options = KeyOptions()
        self._replies: deque[threading.Event] = deque()
        self._replies_lock = threading.Lock()
        self._abandoned: dict[int, LinkChannel] = {}
        self._held_back: list[paramiko.Message] = []
        narrow(self, only)
        self._preferred_keys = tuple(name for name in key_types if name in self._key_info)

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """paramiko's own would ask for certificates behind the keys, wanted or not."""
        return tuple(self._preferred_keys)

    def negotiate(self, deadline: Deadline, waiting: Callable[[], None]) -> None:
        """Key exchange; ``waiting`` is called all the while. Raises ``EOFError``, ``OSError`` or
        ``paramiko.SSHException``; ``TimeoutError`` when it is not done at the deadline; ``Interrupted``."""
        self.banner_timeout = self.handshake_timeout = deadline.remaining_s()
        done = threading.Event()
        self.start_client(event=done)
        while not done.wait(_TICK_S):
            deadline.check()
            if not self.active:
                break
            if deadline.passed():
                raise TimeoutError("no key exchange in time")
            waiting()
        if not self.active or not self.initial_kex_done:
            raise self.saved_exception or EOFError("the connection was closed")

    @property
    def loop(self) -> Loop | None:
        """What moves forwarded connections; None where the server offers no AES-GCM."""
        return self.packetizer.loop if isinstance(self.packetizer, FastPacketizer) else None

    def open(self, kind: str, deadline: Deadline, target: tuple[str, int] | None = None) -> LinkChannel:
        """A new channel; its ``refusal`` is set when the server refused.

        Raises ``SshError`` ``ssh-unreachable`` when the link is dead, ``DeadlinePassed``, ``Interrupted``.
        """
        with self.lock:
            number = self._next_channel()
            channel = LinkChannel(number)
            self._channels.put(number, channel)
            answered = self.channel_events[number] = threading.Event()
            self.channels_seen[number] = True
            channel._set_transport(self)
            channel._set_window(WINDOW_BYTES, PACKET_BYTES)
        self.send_within(opening(kind, number, target), deadline)
        try:
            self._wait(answered, deadline, "opening a channel")
        except BaseException:
            self._abandoned[number] = channel  # if the server opens it later it must be closed, not forgotten
            raise
        return channel

    def request(self, channel: LinkChannel, kind: str, *fields: object, deadline: Deadline) -> bool:
        """A channel request and its answer. Raises like ``open``."""
        channel.event.clear()
        channel.event_ready = False
        with self.patience.until(deadline):
            channel.request(kind, *fields, wants_reply=True)
        self._wait(channel.event, deadline, f"the request {kind}")
        return bool(channel.event_ready)

    def round_trip_s(self, within_s: float) -> float:
        """How long the server takes to answer a request that it does not know; any answer counts (RFC 4254 4).

        While other packets arrive the link is alive, and the answer may come later: four times ``within_s`` at most.
        Raises ``SshError`` ``ssh-unreachable``.
        """
        message = paramiko.Message()
        message.add_byte(bytes([80]))  # SSH_MSG_GLOBAL_REQUEST
        message.add_string("keepalive@openssh.com")
        message.add_boolean(True)
        answered = threading.Event()
        start = time.monotonic()
        deadline = Deadline(within_s)
        with self._replies_lock:  # the order of the answers is the order of the requests
            self._replies.append(answered)
            self.send_within(message, deadline)
        while not answered.wait(min(_TICK_S, within_s)):
            quiet_since = max(start, self.packetizer.heard_at)
            now = time.monotonic()
            if not self.active or now - quiet_since > within_s or now - start > 4 * within_s:
                raise self.lost(f"no answer within {within_s:g} s")
        if not self.active and not answered.is_set():
            raise self.lost()
        return time.monotonic() - start

    def send_within(self, message: paramiko.Message, deadline: Deadline) -> None:
        try:
            with self.patience.until(deadline):
                self._send_user_message(message)
        except (EOFError, OSError, paramiko.SSHException) as error:
            deadline.check()
            raise self.lost("it takes no more data") from error

    def lost(self, why: str = "") -> SshError:
        return SshError("ssh-unreachable", "The SSH connection is lost", self.why_ended() or why)

    def why_ended(self) -> str:
        """Empty while it lives."""
        if self.active:
            return ""
        error = self.saved_exception
        if self._end_text or self.disconnect_text:
            return self._end_text or self.disconnect_text
        if why := self.why_sock_ended():
            return why
        if error is None or isinstance(error, EOFError):
            return "the server closed the connection"
        return clean_line(str(error) or type(error).__name__, 200)

    def end(self, why: str = "closed here") -> None:
        """Close the socket and wait for the thread. Never blocks on a dead link."""
        if self.active:
            self._end_text = self._end_text or why
        self.active = False
        _shut(self.sock)
        if self.is_alive() and threading.current_thread() is not self:
            self.join(2.0)
        self.packetizer.complete_handshake()  # cancels a timer thread that would keep the process alive
        self.packetizer.close()
        for channel in list(self._channels.values()):
            channel._unlink()

    def _stalled(self) -> None:
        self._end_text = self._end_text or "the link takes no more data"
        self.active = False
        _shut(self.sock)

    def _wait(self, event: threading.Event, deadline: Deadline, what: str) -> None:
        while not event.wait(_TICK_S):
            deadline.check()
            if not self.active:
                raise self.lost()
            if deadline.passed():
                raise DeadlinePassed(f"{what} took more than {deadline.within_s:.0f} s", code="deadline-passed")
        if not self.active:
            raise self.lost()

    # What follows replaces methods of paramiko that wait without a bound or share one slot among all threads.

    def run(self) -> None:
        try:
            super().run()
        finally:
            if isinstance(self.packetizer, FastPacketizer):
                self.packetizer.end()

    def _check_banner(self) -> None:
        read_version(self, self.said)
        self.greeted_at = time.monotonic()

    def _really_parse_kex_init(self, m: paramiko.Message, ignore_first_byte: bool = False) -> dict[str, Any]:
        parsed: dict[str, Any] = super()._really_parse_kex_init(m, ignore_first_byte)
        self.offered = {name: list(value) for name, value in parsed.items() if isinstance(value, list)}
        return without_needless_macs(parsed)

    def _activate_outbound(self) -> None:
        if isinstance(self.packetizer, FastPacketizer):
            self.packetizer.agreed((self.local_cipher, self.remote_cipher))
        super()._activate_outbound()

    def _send_user_message(self, data: paramiko.Message) -> None:
        if threading.current_thread() is self:
            # This thread finishes the key exchange, so it must not wait for its end.
            if self.clear_to_send.is_set():
                self._send_message(data)
            else:
                self._held_back.append(data)
            return
        deadline = None
        while True:
            if not self.active:
                raise EOFError
            if self.clear_to_send.wait(_TICK_S) and self.clear_to_send_lock.acquire(timeout=_TICK_S):
                if self.clear_to_send.is_set():
                    break
                self.clear_to_send_lock.release()
            deadline = deadline or self.patience.deadline()
            if deadline.passed() or deadline.called_off.is_set():
                raise EOFError
        try:
            self._send_message(data)
        finally:
            self.clear_to_send_lock.release()

    def _parse_newkeys(self, m: paramiko.Message) -> None:
        super()._parse_newkeys(m)
        held_back, self._held_back = self._held_back, []
        for message in held_back:
            self._send_message(message)

    def _parse_channel_open_success(self, m: paramiko.Message) -> None:
        start = m.packet.tell()
        number = m.get_int()
        m.packet.seek(start)
        super()._parse_channel_open_success(m)
        abandoned = self._abandoned.pop(number, None)
        if abandoned is not None:
            abandoned.close()

    def _parse_channel_open_failure(self, m: paramiko.Message) -> None:
        number, reason, text = m.get_int(), m.get_int(), as_text(m.get_string())
        with self.lock:
            channel = self._channels.get(number)
            answered = self.channel_events.pop(number, None)
            self._channels.delete(number)
        self._abandoned.pop(number, None)
        if channel is not None and answered is not None:
            channel.refusal = (reason, clean_line(redacted(text), 200))
            answered.set()

    def _parse_request_success(self, m: paramiko.Message) -> None:
        with contextlib.suppress(IndexError):
            self._replies.popleft().set()

    _parse_request_failure = _parse_request_success

    def _parse_debug(self, m: paramiko.Message) -> None:
        m.get_boolean()
        self.key_options = read_options(as_text(m.get_string())) or self.key_options

    def _parse_disconnect(self, m: paramiko.Message) -> None:
        m.get_int()
        text = clean_line(redacted(as_text(m.get_string())), 200)
        self.disconnect_text = f"the server disconnected: {text}" if text else "the server disconnected"


def _shut(sock: Any) -> None:
    """Wakes the thread that reads; only that thread may close the descriptor safely."""
    if isinstance(sock, LinkChannel):
        sock.link.end()  # a jump host's connection serves this one only
        return
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
