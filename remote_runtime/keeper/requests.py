"""The requests to a keeper, in order of arrival, and how they interrupt its work."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from ..core.fast_dataclass import fast_dataclass
from ..core.move import UpConsent
from ..core.profile import Profile
from ..lifecycle.take_down import TakeDownOptions
from ..state.ipc import ControlChannel, Message

log = logging.getLogger(__name__)
CONFIRM_TIMEOUT_S = 120.0


@fast_dataclass(frozen=True)
class ControlRequest:
    """``op``: `up` brings the runtime up with ``profile``, `down` stops it and replies on the channel, `check`
    checks the path now. ``overrides``: values of the command line that replace the profile's. ``replies``: of the
    client, to ``confirm``. ``consent``: what its user agrees to."""

    op: Literal["up", "down", "check"]
    options: TakeDownOptions = field(default_factory=TakeDownOptions)
    channel: ControlChannel | None = None
    profile: Profile | None = None
    within_s: float | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    consent: UpConsent = UpConsent()
    replies: queue.SimpleQueue[bool] = field(default_factory=queue.SimpleQueue, compare=False)

    def confirm(self, why: str) -> bool:
        """Asks the client whether to continue although ``why``. False if it disconnected or does not answer in time."""
        return self._ask({"event": "busy", "why": why})

    def confirm_deletion(self, question: str) -> bool:
        """As ``confirm``, before a VM is deleted."""
        return self._ask({"event": "confirm", "question": question})

    def _ask(self, message: Message) -> bool:
        self.reply(message)
        try:
            return self.channel is not None and self.replies.get(timeout=CONFIRM_TIMEOUT_S)
        except queue.Empty:
            return False

    def reply(self, message: Message) -> None:
        """Sends it to the client, if it is still connected."""
        if self.channel is not None:
            try:
                self.channel.send(message)
            except OSError:
                log.info("the client has disconnected")


class RequestQueue:
    """``cancelled`` is set while a queued request must interrupt the current work. ``up_in_progress`` is set from the
    moment an `up` is taken until its handler clears it; while it is set, a second `up` does not interrupt. When its
    last subscriber leaves, ``cancel`` interrupts it."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.up_in_progress = threading.Event()
        self._lock = threading.Lock()
        self.terminated = False
        self._queue: queue.Queue[ControlRequest | None] = queue.Queue()
        self._is_woken = False
        self._queued_downs = 0
        self._termination: queue.SimpleQueue[None] = queue.SimpleQueue()
        threading.Thread(target=self._wait_for_termination, daemon=True, name="termination").start()

    def put(self, request: ControlRequest, *, cancel: bool) -> None:
        with self._lock:
            self._queue.put(request)
            self._queued_downs += request.op == "down"
            if cancel and not (request.op == "up" and self.up_in_progress.is_set()):
                self.cancelled.set()

    def cancel(self) -> None:
        self.cancelled.set()

    def wake(self) -> None:
        """Let ``next`` return: something other than a request has happened. For any thread."""
        with self._lock:
            if not self._is_woken:
                self._is_woken = True
                self._queue.put(None)

    def terminate(self) -> None:
        """To end the process. Safe in a signal handler: takes no lock that the interrupted code may hold."""
        self.terminated = True
        self._termination.put(None)  # documented as reentrant

    def next(self, within_s: float) -> ControlRequest | None:
        """Returns the next request, None after ``within_s`` or ``wake``. Clears ``cancelled`` if no interrupting one is
        left."""
        try:
            request = self._queue.get(timeout=0.01 if self.cancelled.is_set() else within_s)
        except queue.Empty:
            request = None
        with self._lock:
            self._is_woken = self._is_woken and request is not None
            is_up = request is not None and request.op == "up"
            if is_up:
                self.up_in_progress.set()
            self._queued_downs -= request is not None and request.op == "down"
            if not self.terminated and (self._queue.empty() or (is_up and not self._queued_downs)):
                self.cancelled.clear()
        return request

    def drain(self) -> list[ControlRequest]:
        """Takes all requests that wait."""
        waiting = []
        with self._lock:
            while not self._queue.empty():
                request = self._queue.get()
                if request is not None:
                    waiting.append(request)
            self._is_woken = False
            self._queued_downs = 0
        return waiting

    def _wait_for_termination(self) -> None:
        self._termination.get()
        with self._lock:  # `next` may be about to clear it
            self.cancelled.set()
        self.wake()
