"""Runs a command on the machine: sends its stdin, splits its stdout into lines, with limits for time and size."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..core.callbacks import CommandResult
from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, MachineError, SshError
from ..core.sanitize import clean
from .transport.channel import TransportChannel, close_quietly, exit_status, has_ended
from .transport.transport import Transport

_MAX_LINE_BYTES = 1 << 20
_MAX_OUTPUT_BYTES = 16 << 20
_MAX_STDERR_BYTES = 8 << 10
_CHUNK_BYTES = 1 << 15
_TICK_S = 0.1
_REFUSED_RETRY_S = 3.0
_DRAIN_S = 2.0  # an exit status may overtake the last output


def run_command(
    transport: Transport,
    command: Sequence[str],
    *,
    stdin: bytes,
    on_line: Callable[[str], bool | None],
    deadline: Deadline,
    reply: Callable[[], bytes | None] | None = None,
) -> CommandResult:
    """See ``callbacks.RunCommand``. The words of ``command`` are quoted for the machine's shell."""
    transport.has_run_command = True
    with transport.write_deadline.until(deadline):
        channel = _open(transport, deadline)
        try:
            if not transport.request(channel, "exec", shlex.join(command), deadline=deadline):
                raise SshError("ssh-refused", "The SSH server does not run commands")
            outcome = _exchange(channel, stdin, _LineSplitter(on_line), deadline, command[0], reply)
            options = transport.key_options
            return replace(outcome, forced=options.location if options.forces_command else "")
        finally:
            close_quietly(channel)


def _open(transport: Transport, deadline: Deadline) -> TransportChannel:
    """A session channel. OpenSSH counts one (MaxSessions) until it has noticed that the command ended, so a refusal is
    retried."""
    retry_until = deadline.within(_REFUSED_RETRY_S)
    while True:
        channel = transport.open("session", deadline)
        if channel.refusal is None:
            return channel
        close_quietly(channel)
        if retry_until.passed():
            hint = "Increase `MaxSessions` in its sshd_config"
            raise SshError("ssh-refused", "The SSH server opens no session", channel.refusal[1], hint)
        deadline.sleep(_TICK_S)


def _exchange(
    channel: TransportChannel,
    stdin: bytes,
    lines: _LineSplitter,
    deadline: Deadline,
    name: str,
    reply: Callable[[], bytes | None] | None,
) -> CommandResult:
    """Returns when the command has ended and its output is read, or ``lines.is_done``."""
    channel.settimeout(0.0)
    stderr = b""
    unsent = memoryview(stdin)
    sending = True
    last_received_at = time.monotonic()
    while not lines.is_done:
        channel.state_changed.clear()
        ended = bool(channel.closed)
        busy = False
        answer = reply() if reply and not unsent and not ended else b""
        if sending and not ended:
            unsent, moved = _send_part(channel, unsent or memoryview(answer or b""))
            is_done = not unsent and (reply is None or answer is None)
            sending = not (is_done and _shut_write(channel))
            busy |= moved
        if channel.recv_ready():
            lines.feed(channel.recv(_CHUNK_BYTES))
            busy = True
        if channel.recv_stderr_ready():
            stderr = (stderr + channel.recv_stderr(_CHUNK_BYTES))[-_MAX_STDERR_BYTES:]
            busy = True
        last_received_at = time.monotonic() if busy else last_received_at
        if not busy and (ended or (has_ended(channel) and time.monotonic() - last_received_at > _DRAIN_S)):
            break
        deadline.check()
        if deadline.passed():
            lines.finish()
            why = clean(stderr.decode("utf-8", "replace"), _MAX_STDERR_BYTES)
            raise DeadlinePassed(f"{name} on the machine took more than {deadline.timeout_s:.0f} s", why)
        if not busy:
            channel.state_changed.wait(_TICK_S)
    lines.finish()
    # OpenSSH counts a session (MaxSessions) until it has noticed that the command ended.
    wait = Deadline(_DRAIN_S)
    while lines.is_done and not (channel.closed or has_ended(channel) or wait.passed()):
        deadline.check()
        channel.state_changed.clear()
        if not (channel.closed or has_ended(channel)):
            channel.state_changed.wait(_TICK_S)
    return CommandResult(exit_status(channel), clean(stderr.decode("utf-8", "replace"), _MAX_STDERR_BYTES))


def _send_part(channel: TransportChannel, data: memoryview) -> tuple[memoryview, bool]:
    if not data:
        return data, False
    try:
        taken = channel.send(bytes(data[:_CHUNK_BYTES]))
    except TimeoutError:
        return data, False
    except (OSError, EOFError):
        return memoryview(b""), False  # it reads no more, and its exit status shows why
    return (data[taken:], True) if taken else (memoryview(b""), False)


def _shut_write(channel: TransportChannel) -> bool:
    try:
        channel.shutdown_write()
    except (OSError, EOFError):
        channel.state_changed.set()  # the connection is lost, which the loop notices next
    return True


class _LineSplitter:
    """Splits output into lines, with the limits of ``callbacks.RunCommand``. ``is_done``: ``on_line`` returned true."""

    def __init__(self, on_line: Callable[[str], bool | None]) -> None:
        self.is_done = False
        self._on_line = on_line
        self._partial = b""
        self._total = 0

    def feed(self, data: bytes) -> None:
        self._total += len(data)
        *lines, self._partial = (self._partial + data).split(b"\n")
        if self._total > _MAX_OUTPUT_BYTES or any(len(line) > _MAX_LINE_BYTES for line in (*lines, self._partial)):
            raise MachineError(
                "machine-answer-invalid", "The machine's output is too long", "remote-runtime ended the command"
            )
        for line in lines:
            if not self.is_done:
                self._deliver(line)

    def finish(self) -> None:
        if self._partial and not self.is_done:
            self._deliver(self._partial)
            self._partial = b""

    def _deliver(self, line: bytes) -> None:
        self.is_done = bool(self._on_line(line.decode("utf-8", "replace").removesuffix("\r"))) or self.is_done
