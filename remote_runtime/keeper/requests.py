"""What a keeper is asked to do, in order of arrival, and how work under way is called off for it."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from ..core.frozen import dataclass
from ..core.model import Profile
from ..lifecycle.take_down import Wish
from ..state.ipc import Channel, Message

log = logging.getLogger(__name__)
ANSWER_S = 120.0


@dataclass(frozen=True)
class Order:
    """``up``: bring it up again, as this profile says. ``down``: take it down and answer on the channel.
    ``look``: something looks wrong, check now. ``overrides``: what the command line puts before the profile.
    ``said``: what ``allow`` waits for."""

    op: Literal["up", "down", "look"]
    wish: Wish = field(default_factory=Wish)
    channel: Channel | None = None
    profile: Profile | None = None
    within_s: float | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    said: queue.SimpleQueue[bool] = field(default_factory=queue.SimpleQueue, compare=False)

    def allow(self, why: str) -> bool:
        """Whether who gave it says that it may go on, though ``why``. Who has left, or says nothing, does not."""
        self.answer({"event": "busy", "why": why})
        try:
            return self.channel is not None and self.said.get(timeout=ANSWER_S)
        except queue.Empty:
            return False

    def answer(self, message: Message) -> None:
        """To the command that gave it, if it is still there."""
        if self.channel is not None:
            try:
                self.channel.send(message)
            except OSError:
                log.info("the command that asked has left")


class Orders:
    """``called_off`` is set while an order waits that work under way must make room for. ``for_up`` is set from when an
    `up` is next until its work is done (whoever does it clears it): the next `up` waits for that, and it can be called
    off when its last watcher leaves."""

    def __init__(self) -> None:
        self.called_off = threading.Event()
        self.for_up = threading.Event()
        self._lock = threading.Lock()
        self.terminated = False
        self._queue: queue.Queue[Order] = queue.Queue()
        self._downs = 0
        self._end: queue.SimpleQueue[None] = queue.SimpleQueue()
        threading.Thread(target=self._hear_the_end, daemon=True, name="orders-end").start()

    def put(self, order: Order, *, call_off: bool) -> None:
        with self._lock:
            self._queue.put(order)
            self._downs += order.op == "down"
            if call_off and not (order.op == "up" and self.for_up.is_set()):
                self.called_off.set()

    def call_off(self) -> None:
        self.called_off.set()

    def terminate(self) -> None:
        """The process was told to end. Safe in a signal handler: takes no lock that the interrupted code may hold."""
        self.terminated = True
        self._end.put(None)  # documented as reentrant

    def next(self, within_s: float) -> Order | None:
        """The next order, None if there is none in that time. Work may go on once none is left that it is called off
        for."""
        try:
            order = self._queue.get(timeout=0.01 if self.called_off.is_set() else within_s)
        except queue.Empty:
            order = None
        with self._lock:
            is_up = order is not None and order.op == "up"
            if is_up:
                self.for_up.set()
            self._downs -= order is not None and order.op == "down"
            if not self.terminated and (self._queue.empty() or (is_up and not self._downs)):
                self.called_off.clear()
        return order

    def rest(self) -> list[Order]:
        """All that still wait."""
        waiting = []
        with self._lock:
            while not self._queue.empty():
                waiting.append(self._queue.get())
            self._downs = 0
        return waiting

    def _hear_the_end(self) -> None:
        self._end.get()
        with self._lock:  # `next` may be about to clear it
            self.called_off.set()
