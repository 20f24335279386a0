"""`status --watch`: looks again and again, and draws, until the person leaves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .dashboard import Dashboard, is_plain
from .keys import GONE, keys

Look = Callable[[], Sequence[Mapping[str, Any]]]
DRAW_S = 0.25
LEAVE = ("q", "Q", "\x1b", GONE)


def watch(look: Look, *, every_s: float = 1.0) -> None:
    """Returns when a key says so. Raises ``KeyboardInterrupt``, and what ``look`` raises."""
    from rich.console import Console
    from rich.live import Live

    dashboard = Dashboard(every_s, fills=True, plain=is_plain())
    dashboard.feed(look(), time.monotonic())
    screen = Live(dashboard, console=Console(), screen=True, auto_refresh=False)
    with keys() as read, _Looking(look, dashboard, every_s) as looking, screen:
        while (key := read(DRAW_S)) not in LEAVE and looking.failure is None:
            if key in ("p", "P", " "):
                dashboard.paused = not dashboard.paused
            screen.refresh()
    if looking.failure is not None:
        raise looking.failure


class _Looking:
    """Looks in a thread of its own: a runtime that does not answer must not keep the keys waiting."""

    def __init__(self, look: Look, dashboard: Dashboard, every_s: float) -> None:
        self.failure: Exception | None = None
        self._look, self._dashboard, self._every_s = look, dashboard, every_s
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="watch")

    def __enter__(self) -> _Looking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()

    def _run(self) -> None:
        try:
            while not self._left.wait(self._every_s):
                if not self._dashboard.paused:
                    found = self._look()
                    self._dashboard.feed(found, time.monotonic())
        except Exception as error:  # noqa: BLE001  # it is the main thread's, which raises it
            self.failure = error
