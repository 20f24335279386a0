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
from .transport.channel import LinkChannel, close_quietly, exit_status
from .transport.transport import Link

_KEEPALIVE_S = 15.0
_PIECE = 1 << 15
_LOST = 255
_BROKEN_PIPE = 141


def run_shell(link: Link, command: str | None, deadline: Deadline) -> int:
    """See ``Session.shell``. ``deadline``: for its beginning."""
    interactive = command is None and os.isatty(tty.STDIN)
    channel = link.open("session", deadline)
    if channel.refusal is not None:
        raise SshError("ssh-refused", "The machine's SSH server opens no session", channel.refusal[1])
    with ExitStack() as after:
        after.callback(close_quietly, channel)
        if interactive:
            _request_terminal(link, channel, deadline)
        accepted = (
            link.request(channel, "shell", deadline=deadline)
            if command is None
            else link.request(channel, "exec", command, deadline=deadline)
        )
        if not accepted:
            raise SshError("ssh-refused", "The machine's SSH server gives no shell")
        after.enter_context(_watched(link))
        if interactive:
            after.enter_context(tty.raw())
        return _Carrying(channel, after, interactive=interactive).until_the_end()


def _request_terminal(link: Link, channel: LinkChannel, deadline: Deadline) -> None:
    for name, value in os.environ.items():
        if name == "LANG" or name.startswith("LC_"):
            channel.request("env", name, value, wants_reply=False)
    columns, rows = tty.size()
    kind = os.environ.get("TERM", "xterm")
    if not link.request(channel, "pty-req", kind, columns, rows, 0, 0, tty.modes(), deadline=deadline):
        raise SshError("ssh-refused", "The machine's SSH server gives no terminal")


@contextlib.contextmanager
def _watched(link: Link) -> Iterator[None]:
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_KEEPALIVE_S):
            try:
                link.round_trip_s(_KEEPALIVE_S)
            except SshError:
                link.end("the machine does not answer any more")

    thread = threading.Thread(target=watch, name="keepalive", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()


class _Carrying:
    """Our input to the machine and its output to ours, in one thread, never more than one piece in memory."""

    def __init__(self, channel: LinkChannel, after: ExitStack, *, interactive: bool) -> None:
        self._channel = channel
        self._bell, self._ringer = socket.socketpair()
        after.callback(self._bell.close)
        after.callback(self._ringer.close)
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        self._input, self._read = after.enter_context(tty.selectable_input())
        self._resized = False
        self._signal = 0
        self._pending = b""
        self._reading = True
        after.enter_context(tty.signals(self._on_resize if interactive else self._ring, self._on_end))
        channel.settimeout(0.0)
        channel.on_window = self._ring
        after.callback(setattr, channel, "on_window", None)

    def until_the_end(self) -> int:
        channel = self._channel
        while not self._signal:
            ended = bool(channel.closed)
            try:
                if self._pass_output():
                    continue
            except BrokenPipeError:
                return _BROKEN_PIPE
            if ended:
                status = exit_status(channel)
                return _LOST if status is None else status
            if self._resized:
                self._resized = False
                channel.request("window-change", *tty.size(), 0, 0, wants_reply=False)
            self._pass_input()
        return 128 + self._signal

    def _pass_output(self) -> bool:
        moved = False
        if self._channel.recv_ready():
            _write(1, self._channel.recv(_PIECE))
            moved = True
        if self._channel.recv_stderr_ready():
            _write(2, self._channel.recv_stderr(_PIECE))
            moved = True
        return moved

    def _pass_input(self) -> None:
        """Waits for something to do, then sends what can be sent."""
        wanted: list[int] = [self._bell.fileno()]
        if not (self._channel.eof_received and not self._channel.closed):
            wanted.append(self._channel.fileno())
        if self._reading and not self._pending:
            wanted.append(self._input)
        ready, _, _ = select.select(wanted, [], [], 1.0)
        if self._bell.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                self._bell.recv(4096)
        try:
            if self._input in ready:
                self._pending = self._read(_PIECE)
                if not self._pending:
                    self._reading = False
                    self._channel.shutdown_write()
            if self._pending:
                self._pending = self._pending[self._channel.send(self._pending) :]
        except TimeoutError:
            return  # no room; the bell rings when there is
        except (OSError, EOFError):
            self._reading = False  # the command does not read any more; its exit status tells why
            self._pending = b""

    def _on_resize(self) -> None:
        self._resized = True
        self._ring()

    def _on_end(self, number: int) -> None:
        self._signal = number
        self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):
            self._ringer.send(b"\0")


def _write(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            select.select([], [descriptor], [], 1.0)
