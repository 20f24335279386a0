"""`status --watch`: looks again and again, and draws, until the person leaves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .dashboard import Dashboard, ascii_only
from .keys import CLOSED, read_keys

ReadStatus = Callable[[], Sequence[Mapping[str, Any]]]
DRAW_INTERVAL_S = 0.25
QUIT_KEYS = ("q", "Q", "\x1b", CLOSED)


def watch(read_status: ReadStatus, *, every_s: float = 1.0) -> None:
    """Returns when a key says so. Raises ``KeyboardInterrupt``, and what ``look`` raises."""
    from rich.console import Console
    from rich.live import Live

    dashboard = Dashboard(every_s, full_screen=True, plain=ascii_only())
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
    """Looks in a thread of its own: a runtime that does not answer must not keep the keys waiting."""

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
