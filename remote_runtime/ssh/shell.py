"""`remote-runtime ssh`: the machine's shell on this terminal, or one command with its streams."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

from ..core.deadline import Deadline
from ..core.errors import SshError
from . import tty
from .transport.channel import TransportChannel, close_quietly, exit_status
from .transport.transport import Transport

_KEEPALIVE_S = 15.0
_CHUNK_BYTES = 1 << 15
_EXIT_LOST = 255
_EXIT_BROKEN_PIPE = 141


def run_shell(transport: Transport, command: str | None, deadline: Deadline) -> int:
    """See ``Session.shell``. ``deadline``: for its start."""
    interactive = command is None and os.isatty(tty.STDIN)
    channel = transport.open("session", deadline)
    if channel.refusal is not None:
        raise SshError("ssh-refused", "The SSH server opens no session", channel.refusal[1])
    with ExitStack() as cleanup:
        cleanup.callback(close_quietly, channel)
        if interactive:
            _request_terminal(transport, channel, deadline)
        accepted = (
            transport.request(channel, "shell", deadline=deadline)
            if command is None
            else transport.request(channel, "exec", command, deadline=deadline)
        )
        if not accepted:
            raise SshError("ssh-refused", "The SSH server provides no shell")
        cleanup.enter_context(_keepalive(transport))
        if interactive:
            cleanup.enter_context(tty.raw())
        return _TerminalRelay(channel, cleanup, interactive=interactive).run()


def _request_terminal(transport: Transport, channel: TransportChannel, deadline: Deadline) -> None:
    for name, value in os.environ.items():
        if name == "LANG" or name.startswith("LC_"):
            channel.request("env", name, value, wants_reply=False)
    columns, rows = tty.size()
    kind = os.environ.get("TERM", "xterm")
    if not transport.request(channel, "pty-req", kind, columns, rows, 0, 0, tty.modes(), deadline=deadline):
        raise SshError("ssh-refused", "The SSH server provides no terminal")


@contextlib.contextmanager
def _keepalive(transport: Transport) -> Iterator[None]:
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_KEEPALIVE_S):
            try:
                transport.round_trip_s(_KEEPALIVE_S)
            except SshError:
                transport.close("the machine does not answer any more")

    thread = threading.Thread(target=watch, name="keepalive", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()


class _TerminalRelay:
    """Copies stdin to the channel and its output to stdout and stderr, one chunk at a time, in one thread."""

    def __init__(self, channel: TransportChannel, cleanup: ExitStack, *, interactive: bool) -> None:
        self._channel = channel
        self._wakeup_recv, self._wakeup_send = socket.socketpair()
        cleanup.callback(self._wakeup_recv.close)
        cleanup.callback(self._wakeup_send.close)
        self._wakeup_recv.setblocking(False)
        self._wakeup_send.setblocking(False)
        self._input, self._read = cleanup.enter_context(tty.selectable_input())
        self._resized = False
        self._signal = 0
        self._pending = b""
        self._reading = True
        cleanup.enter_context(tty.signals(self._on_resize if interactive else self._wake, self._on_signal))
        channel.settimeout(0.0)
        channel.on_window = self._wake
        cleanup.callback(setattr, channel, "on_window", None)

    def run(self) -> int:
        channel = self._channel
        while not self._signal:
            ended = bool(channel.closed)
            try:
                if self._forward_output():
                    continue
            except BrokenPipeError:
                return _EXIT_BROKEN_PIPE
            if ended:
                status = exit_status(channel)
                return _EXIT_LOST if status is None else status
            if self._resized:
                self._resized = False
                channel.request("window-change", *tty.size(), 0, 0, wants_reply=False)
            self._forward_input()
        return 128 + self._signal

    def _forward_output(self) -> bool:
        moved = False
        if self._channel.recv_ready():
            _write(1, self._channel.recv(_CHUNK_BYTES))
            moved = True
        if self._channel.recv_stderr_ready():
            _write(2, self._channel.recv_stderr(_CHUNK_BYTES))
            moved = True
        return moved

    def _forward_input(self) -> None:
        """Waits for an event, then sends what the channel takes."""
        descriptors: list[int] = [self._wakeup_recv.fileno()]
        if not (self._channel.eof_received and not self._channel.closed):
            descriptors.append(self._channel.fileno())
        if self._reading and not self._pending:
            descriptors.append(self._input)
        ready, _, _ = select.select(descriptors, [], [], 1.0)
        if self._wakeup_recv.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                self._wakeup_recv.recv(4096)
        try:
            if self._input in ready:
                self._pending = self._read(_CHUNK_BYTES)
                if not self._pending:
                    self._reading = False
                    self._channel.shutdown_write()
            if self._pending:
                self._pending = self._pending[self._channel.send(self._pending) :]
        except TimeoutError:
            return  # no window; ``on_window`` wakes the loop
        except (OSError, EOFError):
            self._reading = False  # the command reads no more, and its exit status shows why
            self._pending = b""

    def _on_resize(self) -> None:
        self._resized = True
        self._wake()

    def _on_signal(self, number: int) -> None:
        self._signal = number
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wakeup_send.send(b"\0")


def _write(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            select.select([], [descriptor], [], 1.0)
