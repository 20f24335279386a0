"""`sync --watch`: syncs again whenever the source has changed, also after the connection was lost.

No library that this program has reports changes of files, and none could on the machine. So the source is scanned again
and again: the scan reads no file whose times are unchanged, and the pause grows with the time that it takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..core.deadline import Deadline
from ..core.errors import Interrupted, RemoteRuntimeError
from ..core.profile import Profile
from .context import CommandContext
from .machine import is_ready, open_machine
from .profile_reference import load_profile
from .sync import OnProgress, OpenSync, SyncRequest, SyncResult, open_sync

MIN_PAUSE_S = 1.0
MAX_PAUSE_S = 60.0
PAUSES_PER_SCAN = 20  # a twentieth of the time is spent scanning
RETRY_S = 30.0  # of what could not be copied
READY_POLL_S = 1.0
MIN_RECONNECT_S = 2.0
MAX_RECONNECT_S = 60.0
WATCH_TIMEOUT_S = 10 * 365 * 86400.0
# The connection, the runtime or its keeper is gone.
_OUTAGES = frozenset(
    (
        *("ssh-unreachable", "ssh-refused", "not-up", "not-answering"),
        *("keeper-died", "keeper-unresponsive", "deadline-passed"),
    )
)


def watch(
    request: SyncRequest, context: CommandContext, on_progress: OnProgress, on_synced: Callable[[SyncResult], None]
) -> None:
    """Sync until it is cancelled: raises ``Interrupted`` then, and what the first sync raises. Later errors are
    shown, and it tries again."""
    profile = load_profile(request.name, context)
    deadline = Deadline(WATCH_TIMEOUT_S, context.cancelled)
    state = _WatchState(profile, context, deadline)
    while True:
        try:
            with open_machine(profile, context) as machine:
                state.is_shared = machine.is_shared
                with open_sync(request, machine, profile, context, on_progress) as work:
                    _sync_on_changes(work, state, on_synced)
        except Interrupted:
            raise
        except RemoteRuntimeError as error:
            if not state.has_synced:
                raise
            state.wait_after(error)


class _WatchState:
    """``is_shared``: the connection is the runtime's."""

    def __init__(self, profile: Profile, context: CommandContext, deadline: Deadline) -> None:
        self.is_shared = False
        self.has_synced = False
        self.deadline = deadline
        self._name = profile.name
        self._context = context
        self._reconnect_s = MIN_RECONNECT_S

    def synced(self) -> None:
        self.has_synced = True
        self._reconnect_s = MIN_RECONNECT_S

    def watching(self) -> None:
        self._context.view.step(self._name, "Watching for changes until Ctrl-C")

    def wait_after(self, error: RemoteRuntimeError) -> None:
        """Until there is a reason to try again."""
        view = self._context.view
        view.failed(self._name)
        view.note(self._name, str(error))
        if self.is_shared and error.code in _OUTAGES:
            view.step(self._name, f"Waiting until {self._name} is ready again", f"{self._name} is ready again")
            while not is_ready(self._name, self._context.state):
                self.deadline.sleep(READY_POLL_S)
            view.done(self._name)
        else:
            view.step(self._name, f"Trying again in {self._reconnect_s:.0f} s")
        self.deadline.sleep(self._reconnect_s)
        self._reconnect_s = min(MAX_RECONNECT_S, 2 * self._reconnect_s)


def _sync_on_changes(work: OpenSync, state: _WatchState, on_synced: Callable[[SyncResult], None]) -> None:
    while True:
        result = work.run()
        state.synced()
        on_synced(result)
        state.watching()
        retry_at = time.monotonic() + RETRY_S if result.failed else float("inf")
        pause_s = MIN_PAUSE_S
        while time.monotonic() < retry_at:
            state.deadline.sleep(pause_s)
            begun_at = time.monotonic()
            if work.has_changed():
                break
            pause_s = min(MAX_PAUSE_S, max(MIN_PAUSE_S, PAUSES_PER_SCAN * (time.monotonic() - begun_at)))
