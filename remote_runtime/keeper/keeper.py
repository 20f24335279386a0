"""The background process of one runtime: it brings it up, holds the tunnel, watches, repairs, and takes it down.

It holds ``NAME.alive`` while it lives, is the only writer of ``NAME.json``, and is spoken to over the control channel.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.access import AddedKey
from ..core.deadline import Deadline
from ..core.documents import as_document
from ..core.errors import Interrupted, LocalError, RemoteRuntimeError
from ..core.model import Health, Instance, Profile, Verdict
from ..jupyter import health
from ..lifecycle import bring_up, take_down
from ..state import ipc, store
from ..targets.gce import Machines
from . import results, server_log
from .control_server import Reception
from .monitor import Watch
from .outage import Outage
from .profile_change import make_room
from .reconnect import Repair, failed
from .refusals import another_machine
from .requests import Order, Orders
from .runtime_record import Record, now, target_of, text_of
from .subscribers import Audience

log = logging.getLogger(__name__)
ARRIVAL_S = 15.0
TICK_S = 0.5
GLANCE_EVERY_S = 15.0


@dataclass
class Keeper:
    """One life. ``profile_text``: the first profile as YAML. ``within_s``: the deadline of the whole `up`, None for the
    profile's own limits."""

    state: store.StateDir
    profile: Profile
    profile_text: str
    machines: Machines
    record: Record
    orders: Orders
    remembered_port: int | None
    within_s: float | None = None
    overrides: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._held = bring_up.Held()
        self._audience = Audience()
        self._watching = Watch(self._held, self.orders.called_off, self._door)
        self._stands = False
        left = self.record.runtime
        self._owed = left.instance if left.unfinished else None
        self._owed_server = left.unfinished and left.server is not None and not left.server.attached

    def live(self) -> None:
        """Returns when the runtime is down or did not come up. Raises only what is a bug."""
        reception = Reception(
            orders=self.orders,
            audience=self._audience,
            record=self.record,
            door=self._door,
            connections=self._held.connections,
            traffic=self._held.traffic,
            expect=self._held.expect,
            read_server_log=lambda offset, lines: server_log.read(self._held, self.record, self.profile, offset, lines),
            stands=lambda: self._stands,
            ends_kernels=lambda wish: take_down.ends_kernels(self.record.runtime, self.profile, wish),
            overrides=self.overrides,
        )
        self.record.update()
        with ipc.serving(self.state, self.profile.name, reception):
            try:
                if not self._audience.arrived.wait(ARRIVAL_S):
                    self._end(Interrupted("Nobody waits for this runtime"))
                elif self._is_the_same_machine() and self._bring_up():
                    self._watch()
            except Exception:
                self._held.close()
                self.record.update(state="down", why="the background process failed; its log has the details")
                self._audience.send({"event": "bug", "log": str(self.state.of(self.profile.name, "log"))})
                raise

    def _is_the_same_machine(self) -> bool:
        """What a keeper that died left on another machine is to be taken down with that machine's profile."""
        left, target = self.record.runtime, target_of(self.profile)
        if left.target == target or (left.instance is None and left.server is None):
            self.record.update(target=target, profile_path=str(self.profile.path), profile_text=self.profile_text)
            return True
        self._held.close()
        error = another_machine(self.profile, left.profile_path)
        self.record.update(state="down", why=str(error))
        self._audience.send({"event": "failed", "error": error.as_dict(), "remains": [], "ends": True})
        return False

    def _bring_up(self) -> bool:
        try:
            deadline = Deadline(self.within_s or self.profile.timeouts.whole_s, self.orders.called_off)
            self._ready(bring_up.ensure(self._story(), self._held, start=True, deadline=deadline))
        except RemoteRuntimeError as error:
            self._end(error)
            return False
        return True

    def _end(self, error: RemoteRuntimeError) -> None:
        """It did not come up: nothing is left, or the state file says what is."""
        log.warning("did not come up: %s: %s", error.code, error)
        self._held.close()
        runtime = self.record.runtime
        left = bool(error.remains) or not runtime.unfinished
        if left:
            why = "; ".join(error.remains) or "its server may still run on the machine"
            self.record.update(state="down", why=why, last_error=error.as_dict())
        failure = None if isinstance(error, Interrupted) else {**error.as_dict(), "at": now()}
        self.record.remember(self.remembered_port, failure or store.remembered(self.state, runtime.name).failure)
        downs = [order for order in self.orders.rest() if order.op == "down"]
        abandoned = isinstance(error, Interrupted) and not downs and not self.orders.terminated
        told = {"event": "failed", "error": error.as_dict(), "remains": list(error.remains)}
        self._audience.send({**told, "ends": True, "undone": True, "abandoned": abandoned})
        if downs and (left or runtime.instance is not None):
            self._take_down(downs[0], no_server=not left)
        elif not left:
            self.record.forget()
        results.nothing_to_take_down(downs, runtime.name)

    def _ready(self, seen: Health, order: Order | None = None) -> None:
        runtime = self.record.runtime
        self.remembered_port = runtime.local_port
        self.record.remember(self.remembered_port)
        since = runtime.since if self._stands else now()
        record = self.record.update if self._stands else self.record.insist
        record(state="ready", why="", rtt_ms=seen.rtt_ms, unfinished=False, since=since, last_error=None, seen="")
        self._stands, self._owed, self._owed_server = True, None, False
        log.info("ready on local port %s", runtime.local_port)
        self._audience.conclude({"event": "ready", "runtime": as_document(self.record.runtime)}, order)

    def _watch(self) -> None:
        glanced_at = time.monotonic()
        while not self.orders.terminated:
            every_s = min(GLANCE_EVERY_S, self.profile.ssh.keepalive_s)
            order = self.orders.next(TICK_S)
            if order is not None and order.op == "down" and self._take_down(order):
                return
            if order is not None and order.op == "up":
                self._up_again(order)
            due = time.monotonic() - glanced_at > every_s or (order is not None and order.op == "look")
            bring_up.follow(self._mending(), self._held)
            trouble = self._trouble(look=due)
            if trouble is not None and not self._repair(*trouble):
                return
            if due or trouble is not None:
                glanced_at = time.monotonic()
        self.record.update(state="down", why="the background process was told to end; the server may still run")
        self._held.close()

    def _trouble(self, *, look: bool) -> tuple[Verdict, str] | None:
        trouble = self._watching.trouble()
        if trouble is not None or not (self._watching.wants_a_look() or look):
            return trouble
        seen = self._watching.look(2 * self.profile.ssh.keepalive_s)
        if seen is not None and seen.verdict != "ready":
            return seen.verdict, seen.why
        if seen is not None:
            self.record.update(state="ready", why="", rtt_ms=seen.rtt_ms)
        return None

    def _repair(self, verdict: Verdict, why: str) -> bool:
        """Until it stands again. Returns False when it was taken down instead."""
        log.warning("%s: %s", verdict, why)
        self.record.update(state=verdict, why=why, seen=now())
        outage = Outage(self._held, why)
        if not self._watching.reaches_jupyter():
            self._held.pause()
        is_down = False

        def obey(order: Order) -> bool:
            nonlocal is_down
            is_down = order.op == "down" and self._take_down(order)
            return is_down or (order.op == "up" and self._up_again(order))

        def is_final(error: RemoteRuntimeError) -> bool:
            nonlocal is_down
            is_down = self._ended_when_idle(error)
            return is_down

        repair = Repair(self._held, self.orders, self.record, self._mending, obey, is_final, self._revived)
        seen = repair.run()
        if seen is not None:
            outage.end(self.record)
            self._ready(seen)
        return not is_down

    def _revived(self, instance: Instance) -> None:
        log.warning("%s was preempted, and is started again", instance.name)
        self.record.update(instance=instance, why=f"{instance.name} was preempted, and is started again")

    def _ended_when_idle(self, error: RemoteRuntimeError) -> bool:
        """What the machine's watchdog has ended stays so: this life is over, and the next `up` begins another."""
        idle = self.profile.idle
        if idle.after_s is None or error.code not in ("stopped-when-idle", "instance-stopped"):
            return False
        self._held.close()
        why = f"{error}; its profile's idle ends it when it is not used"
        self.record.update(state="down", why=why, last_error=error.as_dict())
        return True

    def _up_again(self, order: Order) -> bool:
        """Another `up` of a runtime that stands, or stood: the same story, of which most still holds."""
        former = self.profile
        try:
            if order.profile is not None:
                self._adopt(order.profile)
            self.overrides.update(order.overrides)
            if order.environ:
                self.machines = replace(self.machines, environ={**self.machines.environ, **order.environ})
            if self._held.session is None or self._held.session.closed:
                self._held.instance = None
            deadline = Deadline(order.within_s or self.profile.timeouts.whole_s, self.orders.called_off)
            self._ready(bring_up.ensure(self._story(), self._held, start=True, deadline=deadline), order)
        except RemoteRuntimeError as error:
            if self.profile is not former or order.profile is None:  # else what stands was not touched
                failed(self.record, error)
            if error.code == "port-in-use":
                self._adopt(former)  # what worked before does so again
            told = {"event": "failed", "error": error.as_dict(), "remains": list(error.remains)}
            self._audience.conclude({**told, "undone": True}, order)
            return False
        finally:
            self.orders.for_up.clear()
        return True

    def _adopt(self, profile: Profile) -> None:
        """Raises ``LocalError``, and changes nothing then."""
        if make_room(self.profile, profile, self._held, self._audience.note):
            self.remembered_port = self.record.runtime.local_port
        self.profile = profile
        self.record.update(profile_path=str(profile.path), profile_text=text_of(profile))

    def _take_down(self, order: Order, *, no_server: bool = False) -> bool:
        """False when kernels are busy, and who asked does not want them ended."""
        limits = self.profile.timeouts
        step_s = max(limits.ssh_s, limits.jupyter_s)  # an instance tells how it gets on
        order.answer({"event": "limits", "step_s": step_s, "whole_s": 2 * limits.whole_s})
        try:
            end = take_down.take_down(
                self.record.runtime,
                self.profile,
                self._held,
                self.machines,
                replace(order.wish, no_server=no_server),
                tell=lambda text: order.answer({"event": "step", "text": text}),
                ask=self._ask,
                allow=order.allow,
                record=self._keep_keys,
            )
        except LocalError as busy:
            log.info("it stays: %s", busy)
            return False
        self._keep_keys(self.record.runtime.keys)
        results.taken_down(end, order, self.record, self._audience)
        return True

    def _keep_keys(self, keys: tuple[AddedKey, ...]) -> None:
        self.record.update(keys=keys)
        self.record.remember(self.remembered_port)

    def _mending(self) -> bring_up.Story:
        """What stands is known already, so a disk that is full meanwhile is no reason to let it go."""
        return replace(self._story(), record=self.record.update)

    def _story(self) -> bring_up.Story:
        return bring_up.Story(
            profile=self.profile,
            client_id=self.record.runtime.client_id,
            machines=self.machines,
            tell=self._audience,
            ask=self._ask,
            record=self.record.insist,
            remembered_port=self.remembered_port,
            owed=self._owed,
            owed_server=self._owed_server,
            known=None if self._owed or self._stands else self.record.runtime.instance,
            known_server=None if self._owed_server or self._stands else self.record.runtime.server,
            keys=self.record.runtime.keys,
        )

    def _ask(self, prompt: str, *, secret: bool, code: str) -> str:
        deadline = Deadline(600.0, self.orders.called_off)
        return self._audience.ask(prompt, secret=secret, code=code, deadline=deadline)

    def _door(self) -> health.Door:
        runtime = self.record.runtime
        if runtime.local_port is None or runtime.server is None:
            raise ValueError("there is no door before the runtime is ready")
        return bring_up.door(runtime.local_port, runtime.server, self.profile, self._held.front)
