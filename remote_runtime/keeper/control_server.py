"""Where a keeper receives the commands: each connection of the control channel, in a thread of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import field, replace
from typing import Any

from ..core.deadline import Deadline
from ..core.documents import runtime_document
from ..core.errors import Interrupted, LocalError, RemoteRuntimeError, UsageError
from ..core.fast_dataclass import fast_dataclass
from ..core.metrics import Traffic
from ..core.model import Connections, Profile
from ..core.profile import ExtraForward
from ..jupyter import health, server
from ..lifecycle.bring_up import Resources
from ..lifecycle.take_down import TakeDownOptions
from ..state.ipc import ControlChannel, Message
from ..state.log_file import redact
from .load_sampler import LoadSampler
from .requests import ControlRequest, RequestQueue
from .runtime_record import RuntimeRecord
from .subscribers import Subscriber, Subscribers

log = logging.getLogger(__name__)
STATUS_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 15.0
OVERRIDE_KEYS = ("port", "extra")


@fast_dataclass(frozen=True)
class ControlServer:
    """``stands``: whether the runtime has been ready in this keeper's life. ``overrides``: what the command line of the
    first `up` put before the profile."""

    requests: RequestQueue
    subscribers: Subscribers
    record: RuntimeRecord
    endpoint: Callable[[], health.Endpoint]
    connections: Callable[[], Connections]
    ignore_connection_from: Callable[[int], None]
    traffic: Callable[[], Traffic]
    read_server_log: Callable[[int | None, int], tuple[list[str], int]]
    is_ready: Callable[[], bool]
    ends_kernels: Callable[[TakeDownOptions], bool]
    overrides: dict[str, Any]
    sampler: LoadSampler = field(default_factory=LoadSampler)

    def __call__(self, channel: ControlChannel) -> None:
        message = channel.receive(10.0) or {}
        op = message.get("op")
        if op == "status":
            self._refresh_status()
            channel.send({"event": "runtime", "runtime": runtime_document(self.record.runtime)})
        elif op == "down":
            self._handle_down(channel, message)
        elif op == "expect":
            self.ignore_connection_from(int(message["port"]))
            channel.send({"event": "expected"})
        elif op == "server-log":
            channel.send(self._server_log_reply(message))
        elif op == "up":
            self._handle_up(channel, message)

    def _handle_down(self, channel: ControlChannel, message: Message) -> None:
        options = TakeDownOptions(
            message["keep_server"], message["instance"], message["purge"], force=bool(message["force"])
        )
        busy_kernels = 0 if options.force or not self.ends_kernels(options) else self._count_busy_kernels()
        if busy_kernels:
            why = f"{busy_kernels} kernels are busy" if busy_kernels > 1 else "a kernel is busy"
            channel.send({"event": "busy", "why": why})
            while (reply := channel.receive(1.0)) is None:
                pass
            if reply.get("op") != "go":
                return
            options = replace(options, force=True)
        request = ControlRequest("down", options, channel)
        self.requests.put(request, cancel=True)
        try:
            while True:
                if (channel.receive(1.0) or {}).get("op") == "go":
                    request.replies.put(True)
        except (EOFError, OSError):
            request.replies.put(False)

    def _count_busy_kernels(self) -> int:
        """As far as they can be asked now: where they cannot, the machine is asked before they are ended."""
        if self.record.runtime.state != "ready":
            return 0
        try:
            kernels = health.list_kernels(self.endpoint(), Deadline(STATUS_TIMEOUT_S))
        except RemoteRuntimeError as error:
            log.info("the kernels could not be asked: %s", error)
            return 0
        return sum(kernel.get("execution_state") == "busy" for kernel in kernels)

    def _handle_up(self, channel: ControlChannel, message: Message) -> None:
        was_ready = self.is_ready()
        has_new_overrides = any(message.get(key) and message[key] != self.overrides.get(key) for key in OVERRIDE_KEYS)
        request = self._make_up_request(channel, message) if was_ready or has_new_overrides else None
        subscriber = Subscriber(channel, bool(message.get("interactive")), bool(message.get("foreground")), request)
        if was_ready:
            self.subscribers.clear_history()
        self.subscribers.add(subscriber)
        try:
            if request is not None:
                self.requests.put(request, cancel=was_ready and self.record.runtime.state != "ready")
            self._receive_until_cancelled(subscriber)
            is_last = self.subscribers.cancel(subscriber)
            if is_last and (not self.is_ready() or self.requests.up_in_progress.is_set()):
                self.requests.cancel()
            elif subscriber.owns_runtime:
                # Nobody is left to ask whether busy kernels may end: leaving was the answer.
                self.requests.put(ControlRequest("down", TakeDownOptions(force=True)), cancel=True)
            else:
                name = self.record.runtime.name
                why = f"it is up: `remote-runtime down {name}` takes it down" if is_last else "others wait for it"
                error = Interrupted(f"`up {name}` was interrupted, {name} was not", why)
                channel.send({"event": "failed", "error": error.as_dict(), "remains": [], "undone": False})
            _wait_for_disconnect(channel)
        finally:
            self.subscribers.remove(subscriber)

    def _make_up_request(self, channel: ControlChannel, message: Message) -> ControlRequest | None:
        """None when it is refused. What an `up` had overridden stays so, unless this one overrides it anew."""
        overrides = {**self.overrides, **{key: message[key] for key in OVERRIDE_KEYS if message.get(key)}}
        options = {"within_s": message.get("within_s"), "environ": message.get("environ", {}), "overrides": overrides}
        try:
            return ControlRequest("up", profile=requested_profile({**message, **overrides}), **options)
        except RemoteRuntimeError as error:
            channel.send({"event": "failed", "error": error.as_dict(), "remains": [], "undone": False})
            return None

    def _receive_until_cancelled(self, subscriber: Subscriber) -> None:
        """Until it leaves, or asks to be let go."""
        try:
            while True:
                reply = subscriber.channel.receive(1.0) or {}
                if reply.get("op") == "answer":
                    self.subscribers.answer(reply)
                elif reply.get("op") == "cancel":
                    return
        except (EOFError, OSError):
            log.debug("a command has left")

    def _server_log_reply(self, message: Message) -> Message:
        try:
            lines, offset = self.read_server_log(message["offset"], message["lines"])
        except RemoteRuntimeError as error:
            return {"event": "failed", "error": error.as_dict()}
        return {"event": "log", "lines": lines, "offset": offset}

    def _refresh_status(self) -> None:
        """What the file says may be seconds old: look once more before it is told as the truth."""
        if self.record.runtime.state != "ready":
            return
        deadline = Deadline(STATUS_TIMEOUT_S)
        result = health.quick_check(self.endpoint(), deadline)
        if result.verdict != "ready":
            self.record.update(state=result.verdict, why=result.why)
            self.requests.put(ControlRequest("check"), cancel=False)
            return
        try:
            usage = health.read_usage(self.endpoint(), deadline)
        except RemoteRuntimeError as error:
            log.info("its use could not be counted: %s", error)
            return
        # The server's own count starts again with the server.
        before = self.record.runtime.page_requests
        page_requests = before if usage.page_requests is None else max(usage.page_requests, before or 0)
        self.record.update(
            rtt_ms=result.rtt_ms,
            kernels=usage.kernels,
            busy_kernels=usage.busy,
            load=self.sampler.load(self.endpoint()),
            traffic=self.traffic(),
            connections=self.connections(),
            page_requests=page_requests,
            idle_s=usage.idle_s,
        )
        server = self.record.runtime.server
        if server is not None and server.idle is not None and server.idle.failed != usage.idle_failed:
            self.record.update(server=replace(server, idle=replace(server.idle, failed=usage.idle_failed)))


def read_server_log(
    resources: Resources, record: RuntimeRecord, profile: Profile, offset: int | None, lines: int
) -> tuple[list[str], int]:
    """The lines after ``offset``, or the last ``lines`` where it is None, and where the next ones begin.

    Raises ``LocalError`` ``not-up`` while there is no connection, ``UsageError`` for a server that is not ours.
    """
    if record.runtime.server is not None and record.runtime.server.attached:
        why = "it is attached to a server that was started elsewhere, and its log is there"
        raise UsageError("usage", f"{profile.name} has no server log", why)
    session = resources.session
    if session is None or session.closed:
        raise LocalError("not-up", f"{profile.name} has no connection now", record.runtime.why)
    server_spec = server.ServerSpec(profile.name, record.runtime.client_id, profile.jupyter, profile.colab.origins)
    if offset is None:
        part = server.tail_log(session.run, server_spec, lines=lines, deadline=Deadline(READ_TIMEOUT_S))
    else:
        part = server.read_log(session.run, server_spec, offset=offset, deadline=Deadline(READ_TIMEOUT_S))
    return redact(part.text).splitlines(), part.offset


def requested_profile(message: dict[str, Any]) -> Profile:
    """The profile that an `up` names, with what its command line overrides. Raises ``UsageError``."""
    from .. import profiles  # with yaml: the profile of the first `up` came with the errand

    extra = tuple(ExtraForward(**each) for each in message.get("extra", ()))
    return replace(profiles.load(message["profile"]), name=message["name"]).overridden(message.get("port"), extra)


def _wait_for_disconnect(channel: ControlChannel) -> None:
    """The connection closes when its thread ends: stay until the other side has heard the end of the story."""
    try:
        while True:
            channel.receive(1.0)
    except (EOFError, OSError):
        return
