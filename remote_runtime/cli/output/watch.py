"""`status --watch`: polls the status and draws it until a key ends it."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .console import has_unicode
from .dashboard import Dashboard

ReadKey = Callable[[float], str]
CLOSED = "\x04"
_SEQUENCE = re.compile("\x1b[\\[O][0-?]*[ -/]*[@-~]")
ReadStatus = Callable[[], Sequence[Mapping[str, Any]]]
DRAW_INTERVAL_S = 0.25
QUIT_KEYS = ("q", "Q", "\x1b", CLOSED)


def watch(read_status: ReadStatus, *, every_s: float = 1.0) -> None:
    """Raises ``KeyboardInterrupt``, and what ``read_status`` raises."""
    from rich.console import Console
    from rich.live import Live

    dashboard = Dashboard(every_s, full_screen=True, plain=not has_unicode(sys.stdout))
    dashboard.update(read_status(), time.monotonic())
    screen = Live(dashboard, console=Console(), screen=True, auto_refresh=False)
    with read_keys() as read, _StatusPoller(read_status, dashboard, every_s) as poller, screen:
        while (key := read(DRAW_INTERVAL_S)) not in QUIT_KEYS and poller.failure is None:
            if key in ("p", "P", " "):
                dashboard.paused = not dashboard.paused
            screen.refresh()
    if poller.failure is not None:
        raise poller.failure


class _StatusPoller:
    """Polls in a thread, so that a runtime that does not answer does not block the keys."""

    def __init__(self, look: ReadStatus, dashboard: Dashboard, every_s: float) -> None:
        self.failure: Exception | None = None
        self._read_status, self._dashboard, self._every_s = look, dashboard, every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="watch")

    def __enter__(self) -> _StatusPoller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()

    def _run(self) -> None:
        try:
            while not self._stopped.wait(self._every_s):
                if not self._dashboard.paused:
                    found = self._read_status()
                    self._dashboard.update(found, time.monotonic())
        except Exception as error:  # noqa: BLE001  # it is the main thread's, which raises it
            self.failure = error


@contextmanager
def read_keys() -> Iterator[ReadKey]:
    """``read(within_s)`` returns the key pressed in that time, ``""`` for none, ``CLOSED`` when the terminal was
    closed. Restores the terminal's mode at the end."""
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
    """Returns keys pressed at once one by one, and ignores escape sequences such as arrows."""

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
