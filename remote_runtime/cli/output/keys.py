"""Single keys of a terminal, without waiting for Enter; where there is none, only time passes."""

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


@contextmanager
def read_keys() -> Iterator[ReadKey]:
    """``read(within_s)``: the key that was pressed in that time, ``""`` for none, ``GONE`` when the terminal went away.
    The terminal is as it was afterwards."""
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
    """Keys that were pressed at once are read one after the other; arrows and their like are none."""

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
            self._pressed = _SEQUENCE.sub("", pressed) if pressed else CLOSED
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
    return msvcrt.getwch()
