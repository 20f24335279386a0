"""A person at a terminal: reads what is shown, and types."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

WITHIN_S = 60.0
SEQUENCE = re.compile("\x1b\\[[0-?]*[ -/]*[@-~]|\x1b[()][A-Z0-9]|\x1b[=>]")


class Person:
    """``shown``: all that was written so far, without colours and cursor movements."""

    def __init__(self, child: subprocess.Popen[bytes], screen: int) -> None:
        self.child = child
        self.raw = ""
        self._screen = screen
        self._read = 0

    @property
    def shown(self) -> str:
        return SEQUENCE.sub("", self.raw).replace("\r\n", "\n")

    def sees(self, text: str, *, within_s: float = WITHIN_S) -> str:
        """Waits for ``text`` after what was seen before; what came up to its end."""
        until = time.monotonic() + within_s
        while (at := self.shown.find(text, self._read)) < 0:
            assert time.monotonic() < until, f"{text!r} is not shown:\n{self.shown}"
            assert self._look(), f"it ended before {text!r} was shown:\n{self.shown}"
        seen = self.shown[self._read : at + len(text)]
        self._read = at + len(text)
        return seen

    def types(self, text: str, *, enter: bool = True) -> None:
        os.write(self._screen, (text + "\n" * enter).encode())

    def resizes(self, columns: int, lines: int) -> None:
        resize(self._screen, columns, lines)
        self.child.send_signal(signal.SIGWINCH)

    def waits(self, *, within_s: float = WITHIN_S) -> int:
        """Until it ends; its exit code."""
        until = time.monotonic() + within_s
        while self._look():
            assert time.monotonic() < until, f"it does not end:\n{self.shown}"
        return self.child.wait(20)

    def _look(self) -> bool:
        """Whether there may be more."""
        if not select.select([self._screen], [], [], 0.2)[0]:
            return True
        try:
            piece = os.read(self._screen, 65536)
        except OSError:  # which is how a terminal ends
            return False
        self.raw += piece.decode("utf-8", "replace")
        return bool(piece)


@contextmanager
def at_a_terminal(
    command: Sequence[str], environ: Mapping[str, str], *, columns: int = 80, lines: int = 24
) -> Iterator[Person]:
    """The command with a terminal of its own, which Ctrl-C (``types("\\x03")``) interrupts."""
    near, far = pty.openpty()
    resize(near, columns, lines)

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(far, termios.TIOCSCTTY, 0)

    child = subprocess.Popen(
        command,
        stdin=far,
        stdout=far,
        stderr=far,
        env={"TERM": "xterm", **environ},
        preexec_fn=own_terminal,  # this process's threads do nothing at that moment
    )
    os.close(far)
    try:
        yield Person(child, near)
    finally:
        if child.poll() is None:
            child.kill()
        child.wait(20)
        os.close(near)


def resize(screen: int, columns: int, lines: int) -> None:
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
