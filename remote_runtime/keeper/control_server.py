"""Where a keeper receives the commands: each connection of the control channel, in a thread of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import field, replace
from typing import Any

from ..core.deadline import Deadline
from ..core.documents import as_document
from ..core.errors import Interrupted, RemoteRuntimeError
from ..core.frozen import dataclass
from ..core.metrics import Traffic
from ..core.model import Connections, Profile
from ..core.profile import ExtraForward
from ..jupyter import health
from ..lifecycle.take_down import Wish
from ..state.ipc import Channel, Message
from .load_sampler import Sampler
from .requests import Order, Orders
from .runtime_record import Record
from .subscribers import Audience, Member

log = logging.getLogger(__name__)
STATUS_S = 3.0
OVERRIDES = ("port", "extra")


@dataclass(frozen=True)
class Reception:
    """``stands``: whether the runtime has been ready in this keeper's life. ``overrides``: what the command line of the
    first `up` put before the profile."""

    orders: Orders
    audience: Audience
    record: Record
    door: Callable[[], health.Door]
    connections: Callable[[], Connections]
    expect: Callable[[int], None]
    traffic: Callable[[], Traffic]
    read_server_log: Callable[[int | None, int], tuple[list[str], int]]
    stands: Callable[[], bool]
    ends_kernels: Callable[[Wish], bool]
    overrides: dict[str, Any]
    sampler: Sampler = field(default_factory=Sampler)

    def __call__(self, channel: Channel) -> None:
        message = channel.receive(10.0) or {}
        op = message.get("op")
        if op == "status":
            self._freshen()
            channel.send({"event": "runtime", "runtime": as_document(self.record.runtime)})
        elif op == "down":
            self._end(channel, message)
        elif op == "expect":
            self.expect(int(message["port"]))
            channel.send({"event": "expected"})
        elif op == "server-log":
            channel.send(self._server_log(message))
        elif op == "up":
            self._attend(channel, message)

    def _end(self, channel: Channel, message: Message) -> None:
        wish = Wish(message["keep_server"], message["instance"], message["purge"], force=bool(message["force"]))
        busy = 0 if wish.force or not self.ends_kernels(wish) else self._busy_kernels()
        if busy:
            why = f"{busy} kernels are busy" if busy > 1 else "a kernel is busy"
            channel.send({"event": "busy", "why": why})
            while (said := channel.receive(1.0)) is None:
                pass
            if said.get("op") != "go":
                return
            wish = replace(wish, force=True)
        order = Order("down", wish, channel)
        self.orders.put(order, call_off=True)
        try:
            while True:
                if (channel.receive(1.0) or {}).get("op") == "go":
                    order.said.put(True)
        except (EOFError, OSError):
            order.said.put(False)

    def _busy_kernels(self) -> int:
        """As far as they can be asked now: where they cannot, the machine is asked before they are ended."""
        if self.record.runtime.state != "ready":
            return 0
        try:
            kernels = health.kernels(self.door(), Deadline(STATUS_S))
        except RemoteRuntimeError as error:
            log.info("the kernels could not be asked: %s", error)
            return 0
        return sum(kernel.get("execution_state") == "busy" for kernel in kernels)

    def _attend(self, channel: Channel, message: Message) -> None:
        again = self.stands()
        wants_more = any(message.get(key) and message[key] != self.overrides.get(key) for key in OVERRIDES)
        order = self._order_up(channel, message) if again or wants_more else None
        member = Member(channel, bool(message.get("interactive")), bool(message.get("foreground")), order)
        if again:
            self.audience.begin()
        self.audience.join(member)
        try:
            if order is not None:
                self.orders.put(order, call_off=again and self.record.runtime.state != "ready")
            self._listen(member)
            last = self.audience.renounce(member)
            if last and (not self.stands() or self.orders.for_up.is_set()):
                self.orders.call_off()
            elif member.ties:
                # Nobody is left to ask whether busy kernels may end: leaving was the answer.
                self.orders.put(Order("down", Wish(force=True)), call_off=True)
            else:
                name = self.record.runtime.name
                why = f"it is up: `remote-runtime down {name}` takes it down" if last else "others wait for it"
                error = Interrupted(f"`up {name}` was interrupted, {name} was not", why)
                channel.send({"event": "failed", "error": error.as_dict(), "remains": [], "undone": False})
            _stay(channel)
        finally:
            self.audience.leave(member)

    def _order_up(self, channel: Channel, message: Message) -> Order | None:
        """None when it is refused. What an `up` had overridden stays so, unless this one overrides it anew."""
        overrides = {**self.overrides, **{key: message[key] for key in OVERRIDES if message.get(key)}}
        order = {"within_s": message.get("within_s"), "environ": message.get("environ", {}), "overrides": overrides}
        try:
            return Order("up", profile=asked_for({**message, **overrides}), **order)
        except RemoteRuntimeError as error:
            channel.send({"event": "failed", "error": error.as_dict(), "remains": [], "undone": False})
            return None

    def _listen(self, member: Member) -> None:
        """Until it leaves, or asks to be let go."""
        try:
            while True:
                said = member.channel.receive(1.0) or {}
                if said.get("op") == "answer":
                    self.audience.answer(said)
                elif said.get("op") == "cancel":
                    return
        except (EOFError, OSError):
            log.debug("a command has left")

    def _server_log(self, message: Message) -> Message:
        try:
            lines, offset = self.read_server_log(message["offset"], message["lines"])
        except RemoteRuntimeError as error:
            return {"event": "failed", "error": error.as_dict()}
        return {"event": "log", "lines": lines, "offset": offset}

    def _freshen(self) -> None:
        """What the file says may be seconds old: look once more before it is told as the truth."""
        if self.record.runtime.state != "ready":
            return
        deadline = Deadline(STATUS_S)
        seen = health.glance(self.door(), deadline)
        if seen.verdict != "ready":
            self.record.update(state=seen.verdict, why=seen.why)
            self.orders.put(Order("look"), call_off=False)
            return
        try:
            use = health.use(self.door(), deadline)
        except RemoteRuntimeError as error:
            log.info("its use could not be counted: %s", error)
            return
        # The server's own count starts again with the server.
        before = self.record.runtime.page_requests
        page_requests = before if use.page_requests is None else max(use.page_requests, before or 0)
        self.record.update(
            rtt_ms=seen.rtt_ms,
            kernels=use.kernels,
            busy_kernels=use.busy,
            load=self.sampler.load(self.door()),
            traffic=self.traffic(),
            connections=self.connections(),
            page_requests=page_requests,
            idle_s=use.idle_s,
        )
        server = self.record.runtime.server
        if server is not None and server.idle is not None and server.idle.failed != use.idle_failed:
            self.record.update(server=replace(server, idle=replace(server.idle, failed=use.idle_failed)))


def asked_for(message: dict[str, Any]) -> Profile:
    """The profile that an `up` names, with what its command line overrides. Raises ``UsageError``."""
    from .. import profiles  # with yaml: the profile of the first `up` came with the errand

    extra = tuple(ExtraForward(**each) for each in message.get("extra", ()))
    return replace(profiles.load(message["profile"]), name=message["name"]).overridden(message.get("port"), extra)


def _stay(channel: Channel) -> None:
    """The connection closes when its thread ends: stay until the other side has heard the end of the story."""
    try:
        while True:
            channel.receive(1.0)
    except (EOFError, OSError):
        return
