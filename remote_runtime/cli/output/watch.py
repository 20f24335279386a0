"""`status --watch`: polls the status, draws it, and does what the keys say."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...core.fast_dataclass import fast_dataclass
from .console import has_unicode, say
from .dashboard import Dashboard, LogView
from .keys import CLOSED, read_keys
from .runtime_block import busy_kernels

ReadStatus = Callable[[], Sequence[Mapping[str, Any]]]
POLL_INTERVAL_S = 1.0
DRAW_INTERVAL_S = 0.25
MAX_LOG_LINES = 1000
QUIT_KEYS = ("q", "Q", "\x1b", CLOSED)
SCROLL_LINES = {"up": 1, "k": 1, "down": -1, "j": -1, "page up": 20, "page down": -20, " ": -20}


@fast_dataclass(frozen=True)
class Actions:
    """What keys do with the runtime of a name. ``open_page`` returns a message, ``read_log`` the last lines. ``stop``
    uses the terminal, and returns whether it succeeded; its second argument says that busy kernels may end."""

    open_page: Callable[[str], str]
    read_log: Callable[[str, int], Sequence[str]]
    stop: Callable[[str, bool], bool]


def watch(read_status: ReadStatus, actions: Actions) -> None:
    """Raises ``KeyboardInterrupt``, and what ``read_status`` raises."""
    dashboard = Dashboard(full_screen=True, plain=not has_unicode(sys.stdout))
    screen = Screen(dashboard, actions)
    _update(dashboard, read_status, actions)
    while stop := _run_screen(screen, read_status, actions):
        is_stopped = actions.stop(stop.name, stop.is_busy)
        _update(dashboard, read_status, actions)
        if dashboard.selected is None:
            return
        if not is_stopped:
            say("Press a key to return.")
            with read_keys() as read:
                while not read(DRAW_INTERVAL_S):
                    pass


def _run_screen(screen: Screen, read_status: ReadStatus, actions: Actions) -> Stop | None:
    """Returns what to stop, None to quit. The terminal is as before when it returns."""
    from rich.console import Console
    from rich.live import Live

    live = Live(screen.dashboard, console=Console(), screen=True, auto_refresh=False)
    with read_keys() as read, _StatusPoller(read_status, screen.dashboard, actions) as poller, live:
        while poller.failure is None:
            if screen.handle(read(DRAW_INTERVAL_S)):
                return screen.take_confirmed()
            live.refresh()
    raise poller.failure


@fast_dataclass(frozen=True)
class Stop:
    """A runtime that the user wants to stop. ``is_busy``: they know that it has busy kernels."""

    name: str
    is_busy: bool


class Screen:
    """What each key does to the dashboard."""

    def __init__(self, dashboard: Dashboard, actions: Actions) -> None:
        self.dashboard = dashboard
        self._actions = actions
        self._question_for: Stop | None = None
        self._confirmed: Stop | None = None

    def take_confirmed(self) -> Stop | None:
        """What the user confirmed to stop, once."""
        confirmed, self._confirmed = self._confirmed, None
        return confirmed

    def handle(self, key: str) -> bool:
        """Returns whether the screen ends."""
        if not key:
            return False
        dashboard = self.dashboard
        dashboard.message = ""
        if key == CLOSED:
            return True
        if self._question_for:
            asked, self._question_for = self._question_for, None
            self._confirmed = asked if key in ("y", "Y") else None
            return self._confirmed is not None
        if dashboard.shows_help:
            dashboard.shows_help = False
        elif dashboard.log_view is not None:
            self._handle_log_key(dashboard.log_view, key)
        elif key in QUIT_KEYS:
            return True
        else:
            self._handle_key(key)
        return False

    def _handle_key(self, key: str) -> None:
        dashboard, selected = self.dashboard, self.dashboard.selected
        name = selected["name"] if selected else ""
        if key in ("p", "P", " "):
            dashboard.paused = not dashboard.paused
        elif key in ("?", "h"):
            dashboard.shows_help = True
        elif key == "\t":
            dashboard.select_next()
        elif key in ("l", "L") and name:
            dashboard.log_view = LogView(name, self._actions.read_log(name, MAX_LOG_LINES))
        elif key in ("o", "O") and name:
            dashboard.message = self._actions.open_page(name)
        elif key in ("d", "D") and selected:
            busy = busy_kernels(selected)
            warning = f" Busy kernels will end: {', '.join(busy)}." if busy else ""
            dashboard.message = f"Stop {name}?{warning} [y/N]"
            self._question_for = Stop(name, bool(busy))

    def _handle_log_key(self, view: LogView, key: str) -> None:
        if key in QUIT_KEYS or key in ("l", "L"):
            self.dashboard.log_view = None
        elif key in ("end", "G"):
            view.from_end = 0
        elif key in ("home", "g"):
            self.dashboard.scroll(len(view.lines))
        else:
            self.dashboard.scroll(SCROLL_LINES.get(key, 0))


class _StatusPoller:
    """Polls in a thread, so that a runtime that does not answer does not block the keys."""

    def __init__(self, read_status: ReadStatus, dashboard: Dashboard, actions: Actions) -> None:
        self.failure: Exception | None = None
        self._read_status, self._dashboard, self._actions = read_status, dashboard, actions
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="watch")

    def __enter__(self) -> _StatusPoller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()

    def _run(self) -> None:
        try:
            while not self._stopped.wait(POLL_INTERVAL_S):
                view = self._dashboard.log_view
                if view is not None:
                    lines = self._actions.read_log(view.name, MAX_LOG_LINES)
                    view.from_end += len(lines) - len(view.lines) if view.from_end else 0
                    view.lines = lines
                if not self._dashboard.paused:
                    _update(self._dashboard, self._read_status, self._actions)
        except Exception as error:  # noqa: BLE001  # it is the main thread's, which raises it
            self.failure = error


def _update(dashboard: Dashboard, read_status: ReadStatus, actions: Actions) -> None:
    runtimes = read_status()
    logs = {runtime["name"]: "".join(actions.read_log(runtime["name"], 1)) for runtime in runtimes}
    dashboard.update(runtimes, time.monotonic(), logs)
