"""Makes a runtime stand again: tries without end, at first at once, then ever more rarely."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import InitVar, dataclass, replace

from ..core.deadline import Deadline
from ..core.errors import Interrupted, RemoteRuntimeError, unforeseen
from ..core.model import Health, Instance, Verdict
from ..lifecycle import bring_up
from ..lifecycle.lookup import NO_MACHINE, Inquiry, is_the_same
from ..tunnel.network_change import TICK_S, Disturbances
from .requests import Order, Orders
from .runtime_record import Record

log = logging.getLogger(__name__)
LONGEST_PAUSE_S = 30.0
MOST_SLIPS = 10  # connections that were lost before the check was over: the server lets us in, so it is tried soon
LOOK_AGAIN_S = 10.0
# A try without a person is a question to nobody, and to the machine a failed login that may ring a phone.
NEEDS_A_PERSON = ("two-factor-needed", "passphrase-needed")
WATCH_S = 0.25
VERDICTS: dict[str, Verdict] = {
    "stranger-answered": "stranger",
    "ssh-unreachable": "reconnecting",
    "iap-unreachable": "reconnecting",
    "iap-backend-unreachable": "reconnecting",
    "not-answering": "reconnecting",
    "deadline-passed": "reconnecting",
    "machine-booting": "reconnecting",
    "another-machine": "reconnecting",
}


@dataclass
class Repair:
    """``story``: as it is to be told now. ``obey``: carries an order out, and answers whether the repair is over.
    ``is_final``: whether nothing is to be mended after this failure. ``revived``: see ``Inquiry``."""

    held: bring_up.Held
    orders: Orders
    record: Record
    story: Callable[[], bring_up.Story]
    obey: Callable[[Order], bool]
    is_final: Callable[[RemoteRuntimeError], bool]
    revived: InitVar[Callable[[Instance], None]]
    _no_machine: RemoteRuntimeError | None = None
    _disturbed: bool = False
    _person: RemoteRuntimeError | None = None

    def __post_init__(self, revived: Callable[[Instance], None]) -> None:
        self._inquiry = Inquiry(revived)
        self._is_over = False

    def run(self) -> Health | None:
        """The health when it stands again; None when an order ended the repair, or the keeper is to end."""
        self._disturbances = Disturbances(self.held.instance.address if self.held.instance else "")
        attempt = slips = 0
        try:
            while not self.orders.terminated:
                attempt += 1
                entered = self.held.entered
                seen = self._try(attempt)
                if self.held.entered > entered and slips < MOST_SLIPS:
                    attempt, slips = 1, slips + 1
                if seen is not None or self._is_over or self._pause(attempt):
                    return seen
                if self._disturbed:
                    attempt, self._disturbed = 0, False
            return None
        finally:
            self._inquiry.end()

    def _try(self, attempt: int) -> Health | None:
        story = replace(self.story(), hurried=True)
        try:
            if self._no_machine is not None:
                self._inquiry.begin(story.machines, story.profile, self.held.instance, self._no_machine)
                raise self._no_machine
            with self._called_off_for_news() as called_off:
                deadline = Deadline(story.profile.timeouts.whole_s, called_off)
                return bring_up.ensure(story, self.held, start=False, deadline=deadline)
        except Interrupted as error:
            log.info("attempt %d: %s", attempt, error)
        except RemoteRuntimeError as error:
            log.info("attempt %d: %s: %s", attempt, error.code, error)
            self._tell(error)
            self._person = error if error.code in NEEDS_A_PERSON else None
            if not self.held.is_entered() and (attempt in (1, 2, 4, 8) or attempt % 10 == 0):
                self._inquiry.begin(story.machines, story.profile, self.held.instance, error)
        except Exception as error:
            log.exception("a bug of ours in a repair; the next attempt may do without it")
            self.record.update(state="unreachable", why=unforeseen(error))
        return None

    @contextlib.contextmanager
    def _called_off_for_news(self) -> Iterator[threading.Event]:
        """Set when an order comes, or when a try to enter has become vain: another network here, another address."""
        called_off, over = threading.Event(), threading.Event()

        def watch() -> None:
            ticked_at = time.monotonic()
            while not over.wait(WATCH_S):
                vain = self._inquiry.tells_otherwise(self.held.instance)
                if time.monotonic() - ticked_at >= TICK_S:
                    ticked_at = time.monotonic()
                    self._disturbed = self._disturbed or bool(self._disturbances.noticed())
                if self.orders.called_off.is_set() or ((vain or self._disturbed) and not self.held.is_entered()):
                    called_off.set()
                    return

        self._disturbances.mark()
        watcher = threading.Thread(target=watch, daemon=True, name="repair-watch")
        watcher.start()
        try:
            yield called_off
        finally:
            over.set()
            watcher.join()

    def _pause(self, attempt: int) -> bool:
        """Until the next try is due; whether the repair is over. Only an order ends it where a person is needed."""
        until = time.monotonic() + pause_s(attempt)
        if self._no_machine is not None:
            until = min(until, time.monotonic() + LOOK_AGAIN_S)
        self._disturbances.mark()
        while True:
            self._take_news()
            if self._is_over or (self._disturbed and self._person is None):
                return self._is_over
            left_s = until - time.monotonic()
            order = self.orders.next(TICK_S if self._person is not None else max(0.0, min(TICK_S, left_s)))
            if order is not None and self.obey(order):
                return True
            if self._person is not None:
                if self.orders.terminated:
                    return False
                if order is not None:
                    failed(self.record, self._person)  # whatever an `up` failed with: it is still waited for a person
                continue
            what = self._disturbances.noticed()
            if what:
                log.info("%s: trying again at once", what)
                self._disturbed = True
            elif left_s <= TICK_S or self.orders.terminated:
                return False

    def _take_news(self) -> None:
        news = self._inquiry.news()
        if isinstance(news, RemoteRuntimeError):
            self._no_machine = news if news.code in NO_MACHINE else None
            self._tell(news)
        elif isinstance(news, Instance):
            known, was_gone, self._no_machine = self.held.instance, self._no_machine is not None, None
            if self.held.is_entered() or (known is not None and is_the_same(news, known) and not was_gone):
                return
            started_from = known.started_from if known is not None and known.id == news.id else None
            here = news.reached_like(known) if known is not None else news
            self.held.instance = replace(here, started_from=started_from)
            self.record.update(instance=self.held.instance)
            self._disturbed = True

    def _tell(self, error: RemoteRuntimeError) -> None:
        self._is_over = self.is_final(error)
        if not self._is_over:
            failed(self.record, error)


def failed(record: Record, error: RemoteRuntimeError) -> None:
    """Tell in the state file why it does not stand, unless something else came between."""
    log.warning("%s: %s", error.code, error)
    if isinstance(error, Interrupted):
        return
    verdict = VERDICTS.get(error.code, "unreachable")
    record.update(state=verdict, why=str(error), last_error=error.as_dict())


def pause_s(attempt: int) -> float:
    """How long to wait after a failed attempt: doubling, with jitter, so that a server is not stormed."""
    return min(LONGEST_PAUSE_S, 2.0 ** min(attempt - 1, 5)) * random.uniform(0.5, 1.0)  # noqa: S311  # not a secret
