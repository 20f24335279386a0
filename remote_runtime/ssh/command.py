"""A command on the machine: its input sent, its output cut into lines, all of it bounded."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..core.callbacks import Outcome
from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, MachineError, SshError
from ..core.sanitize import clean
from .transport.channel import LinkChannel, close_quietly, exit_status, has_ended
from .transport.transport import Link

_LARGEST_LINE = 1 << 20
_LARGEST_OUTPUT = 16 << 20
_STDERR_KEPT = 8 << 10
_PIECE = 1 << 15
_TICK_S = 0.1
_REFUSED_S = 3.0
_DRAIN_S = 2.0  # an exit status may overtake the last output


def run_command(
    link: Link,
    command: Sequence[str],
    *,
    stdin: bytes,
    on_line: Callable[[str], bool | None],
    deadline: Deadline,
    reply: Callable[[], bytes | None] | None = None,
) -> Outcome:
    """See ``protocols.Run``. The machine's shell gets the words of ``command`` quoted."""
    with link.patience.until(deadline):
        channel = _open(link, deadline)
        try:
            if not link.request(channel, "exec", shlex.join(command), deadline=deadline):
                raise SshError("ssh-refused", "The machine's SSH server does not run commands")
            outcome = _converse(channel, stdin, _Lines(on_line), deadline, command[0], reply)
            options = link.key_options
            return replace(outcome, forced=options.place if options.forces_command else "")
        finally:
            close_quietly(channel)


def _open(link: Link, deadline: Deadline) -> LinkChannel:
    """A session. One that has just ended counts until the server has seen its command end (OpenSSH's MaxSessions)."""
    brief = deadline.shorter(_REFUSED_S)
    while True:
        channel = link.open("session", deadline)
        if channel.refusal is None:
            return channel
        close_quietly(channel)
        if brief.passed():
            hint = "In the sshd_config of an OpenSSH server, `MaxSessions` says how many it opens"
            raise SshError("ssh-refused", "The machine's SSH server opens no session", channel.refusal[1], hint)
        deadline.pause(_TICK_S)


def _converse(
    channel: LinkChannel,
    stdin: bytes,
    lines: _Lines,
    deadline: Deadline,
    name: str,
    reply: Callable[[], bytes | None] | None,
) -> Outcome:
    """Until the command has ended and all it wrote has been read, or nothing more is awaited."""
    channel.settimeout(0.0)
    complaints = b""
    unsent = memoryview(stdin)
    sending = True
    heard_at = time.monotonic()
    while not lines.enough:
        channel.activity.clear()
        ended = bool(channel.closed)
        busy = False
        said = reply() if reply and not unsent and not ended else b""
        if sending and not ended:
            unsent, moved = _send_some(channel, unsent or memoryview(said or b""))
            ends = not unsent and (reply is None or said is None)
            sending = not (ends and _shut_write(channel))
            busy |= moved
        if channel.recv_ready():
            lines.feed(channel.recv(_PIECE))
            busy = True
        if channel.recv_stderr_ready():
            complaints = (complaints + channel.recv_stderr(_PIECE))[-_STDERR_KEPT:]
            busy = True
        heard_at = time.monotonic() if busy else heard_at
        if not busy and (ended or (has_ended(channel) and time.monotonic() - heard_at > _DRAIN_S)):
            break
        deadline.check()
        if deadline.passed():
            lines.end()
            why = clean(complaints.decode("utf-8", "replace"), _STDERR_KEPT)
            raise DeadlinePassed(f"{name} on the machine took more than {deadline.within_s:.0f} s", why)
        if not busy:
            channel.activity.wait(_TICK_S)
    lines.end()
    # A server counts a session until it has seen its command end (OpenSSH's MaxSessions).
    wait = Deadline(_DRAIN_S)
    while lines.enough and not (channel.closed or has_ended(channel) or wait.passed()):
        deadline.check()
        channel.activity.clear()
        if not (channel.closed or has_ended(channel)):
            channel.activity.wait(_TICK_S)
    return Outcome(exit_status(channel), clean(complaints.decode("utf-8", "replace"), _STDERR_KEPT))


def _send_some(channel: LinkChannel, data: memoryview) -> tuple[memoryview, bool]:
    if not data:
        return data, False
    try:
        taken = channel.send(bytes(data[:_PIECE]))
    except TimeoutError:
        return data, False
    except (OSError, EOFError):
        return memoryview(b""), False  # it does not read any more; its exit status tells why
    return (data[taken:], True) if taken else (memoryview(b""), False)


def _shut_write(channel: LinkChannel) -> bool:
    try:
        channel.shutdown_write()
    except (OSError, EOFError):
        channel.activity.set()  # the link is gone, which the loop sees next
    return True


class _Lines:
    """Cuts output into lines, bounded as ``protocols.Run`` promises. ``enough``: no more is awaited."""

    def __init__(self, on_line: Callable[[str], bool | None]) -> None:
        self.enough = False
        self._on_line = on_line
        self._rest = b""
        self._total = 0

    def feed(self, data: bytes) -> None:
        self._total += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._total > _LARGEST_OUTPUT or any(len(line) > _LARGEST_LINE for line in (*lines, self._rest)):
            raise MachineError("machine-answer-invalid", "The machine's answer is endless", "a command was ended")
        for line in lines:
            if not self.enough:
                self._say(line)

    def end(self) -> None:
        if self._rest and not self.enough:
            self._say(self._rest)
            self._rest = b""

    def _say(self, line: bytes) -> None:
        self.enough = bool(self._on_line(line.decode("utf-8", "replace").removesuffix("\r"))) or self.enough
