"""Reads single keys from the terminal, on POSIX and on Windows."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ReadKey = Callable[[float], str]
CLOSED = "\x04"
_SEQUENCE = re.compile("\x1b[\\[O][0-?]*[ -/]*[@-~]")
# What terminals send for the keys of ECMA-48 and of xterm, and Windows' second code of a key.
_POSIX_NAMES = {"A": "up", "B": "down", "H": "home", "F": "end", "5~": "page up", "6~": "page down"}
_WINDOWS_NAMES = {"H": "up", "P": "down", "G": "home", "O": "end", "I": "page up", "Q": "page down"}


@contextmanager
def read_keys() -> Iterator[ReadKey]:
    """``read(within_s)`` returns the key pressed in that time, ``""`` for none, ``CLOSED`` when the terminal was
    closed. Keys for moving are named ``up``, ``page down``. Restores the terminal's mode at the end."""
    if sys.stdin is None or not sys.stdin.isatty():
        yield _no_key
    elif sys.platform == "win32":
        yield _windows_key
    else:
        import termios
        import tty

        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
        try:
            tty.setcbreak(descriptor)
            yield _PosixKeys(descriptor)
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _no_key(within_s: float) -> str:
    time.sleep(within_s)
    return ""


class _PosixKeys:
    """Returns keys pressed at once one by one, and ignores escape sequences that it does not know."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pressed = ""

    def __call__(self, within_s: float) -> str:
        import select

        if not self._pressed and select.select([self._descriptor], [], [], within_s)[0]:
            try:
                pressed = os.read(self._descriptor, 64).decode("utf-8", "replace")
            except OSError:  # the window was closed
                return CLOSED
            self._pressed = pressed or CLOSED
        sequence = _SEQUENCE.match(self._pressed)
        if sequence is not None:
            self._pressed = self._pressed[sequence.end() :]
            return _POSIX_NAMES.get(sequence[0][2:], "")
        key, self._pressed = self._pressed[:1], self._pressed[1:]
        return key


def _windows_key(within_s: float) -> str:
    if sys.platform != "win32":
        raise OSError("msvcrt is Windows'")
    import msvcrt

    until = time.monotonic() + within_s
    while not msvcrt.kbhit():
        if time.monotonic() > until:
            return ""
        time.sleep(0.02)
    key = msvcrt.getwch()
    if key == "\x03":  # Ctrl-C, where no signal is made of it
        raise KeyboardInterrupt
    if key == "\x00" or (key == "\xe0" and msvcrt.kbhit()):  # alone, the latter is an à
        return _WINDOWS_NAMES.get(msvcrt.getwch(), "")
    return key


def discard_typed() -> None:
    """Forgets the keys that were pressed while nothing read them."""
    if sys.stdin is None or not sys.stdin.isatty():
        return
    if sys.platform == "win32":
        import msvcrt

        while msvcrt.kbhit():
            msvcrt.getwch()
    else:
        import termios

        termios.tcflush(sys.stdin, termios.TCIFLUSH)
