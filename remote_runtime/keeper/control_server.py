"""The keeper's side of the control channel: answers the commands, each connection in a thread of its own."""

from __future__ import annotations

import logging
from dataclasses import field, replace
from typing import Any, Protocol

from ..core.codec import from_json
from ..core.deadline import Deadline
from ..core.documents import runtime_document
from ..core.errors import Interrupted, LocalError, RemoteRuntimeError, UsageError
from ..core.fast_dataclass import fast_dataclass
from ..core.move import UpConsent
from ..core.profile import ExtraForward, Profile
from ..jupyter import health, server
from ..lifecycle.resources import Resources
from ..lifecycle.take_down import TakeDownOptions, ends_kernels
from ..state.ipc import ControlChannel, Message
from ..state.log_file import redact
from ..targets import Target
from .machine_access import connect_to_machine, run_on_machine
from .monitor import LoadSampler
from .requests import ControlRequest, RequestQueue
from .runtime_record import RuntimeRecord, now
from .ssh_access import SshAccess
from .subscribers import Subscriber, Subscribers

log = logging.getLogger(__name__)
WAIT_S = 3600.0  # for a message; the end of the connection ends it too
STATUS_TIMEOUT_S = 3.0
SERVER_LOG_TIMEOUT_S = 15.0
OVERRIDE_KEYS = ("port", "extra")
MACHINE_ACCESS = {"run": run_on_machine, "connect": connect_to_machine}


class ServedKeeper(Protocol):
    """The part of the keeper that its control server uses. ``has_been_ready``: the runtime was ready at least once
    in this process. ``overrides``: values of command lines of `up` that replace the profile's."""

    profile: Profile
    record: RuntimeRecord
    requests: RequestQueue
    resources: Resources
    subscribers: Subscribers
    overrides: dict[str, Any]

    @property
    def has_been_ready(self) -> bool: ...
    def endpoint(self) -> health.Endpoint: ...
    def target(self) -> Target: ...


@fast_dataclass(frozen=True)
class ControlServer:
    """Serves one connection of the control channel at each call, until the client disconnects."""

    keeper: ServedKeeper
    sampler: LoadSampler = field(default_factory=LoadSampler)
    ssh_access: SshAccess = field(default_factory=SshAccess)

    def __call__(self, channel: ControlChannel) -> None:
        message = channel.receive(10.0) or {}
        op = message.get("op")
        if op == "status":
            self._refresh_status()
            channel.send({"event": "runtime", "runtime": runtime_document(self.keeper.record.runtime)})
        elif op == "down":
            self._handle_down(channel, message)
        elif op == "expect":
            self.keeper.resources.ignore_connection_from(int(message["port"]))
            channel.send({"event": "expected"})
        elif op == "server-log":
            channel.send(self._server_log_reply(message))
        elif op in MACHINE_ACCESS:
            MACHINE_ACCESS[op](self.keeper.resources.session, self.keeper.record.runtime.name, channel, message)
        elif op == "connect-ssh":
            self.ssh_access(self.keeper, channel, message)
        elif op == "up":
            self._handle_up(channel, message)

    def _handle_down(self, channel: ControlChannel, message: Message) -> None:
        options = TakeDownOptions(
            message["keep_server"], message["instance"], message["purge"], force=bool(message["force"])
        )
        keeper = self.keeper
        ask = not options.force and ends_kernels(keeper.record.runtime, keeper.profile, options)
        busy_kernels = self._count_busy_kernels() if ask else 0
        if busy_kernels:
            why = f"{busy_kernels} kernels are busy" if busy_kernels > 1 else "a kernel is busy"
            channel.send({"event": "busy", "why": why})
            while (reply := channel.receive(WAIT_S)) is None:
                pass
            if reply.get("op") != "go":
                return
            options = replace(options, force=True)
        request = ControlRequest("down", options, channel)
        keeper.requests.put(request, cancel=True)
        try:
            while True:
                if (channel.receive(WAIT_S) or {}).get("op") == "go":
                    request.replies.put(True)
        except (EOFError, OSError):
            request.replies.put(False)

    def _count_busy_kernels(self) -> int:
        """Returns 0 if Jupyter does not respond now; ``take_down`` asks on the machine then."""
        if self.keeper.record.runtime.state != "ready":
            return 0
        try:
            kernels = health.list_kernels(self.keeper.endpoint(), Deadline(STATUS_TIMEOUT_S))
        except RemoteRuntimeError as error:
            log.info("can't list the kernels: %s", error)
            return 0
        return sum(kernel.get("execution_state") == "busy" for kernel in kernels)

    def _handle_up(self, channel: ControlChannel, message: Message) -> None:
        keeper = self.keeper
        was_ready = keeper.has_been_ready
        overrides = keeper.overrides
        has_new_overrides = any(message.get(key) and message[key] != overrides.get(key) for key in OVERRIDE_KEYS)
        request = self._make_up_request(channel, message) if was_ready or has_new_overrides else None
        subscriber = Subscriber(channel, bool(message.get("interactive")), bool(message.get("foreground")), request)
        if was_ready:
            keeper.subscribers.clear_history()
        keeper.subscribers.add(subscriber)
        try:
            if request is not None:
                keeper.requests.put(request, cancel=was_ready and keeper.record.runtime.state != "ready")
            self._receive_until_cancelled(subscriber)
            is_last = keeper.subscribers.cancel(subscriber)
            if is_last and (not keeper.has_been_ready or keeper.requests.up_in_progress.is_set()):
                keeper.requests.cancel()
            elif subscriber.owns_runtime:
                # No client is left to confirm that busy kernels may end: leaving was the answer.
                keeper.requests.put(ControlRequest("down", TakeDownOptions(force=True)), cancel=True)
            else:
                name = keeper.record.runtime.name
                why = f"{name} keeps running" if is_last else f"Another `up` still waits for {name}"
                error = Interrupted(why=why, hint="`remote-runtime down PROFILE` stops it" if is_last else "")
                channel.send({"event": "failed", "error": error.as_dict(), "remains": [], "undone": False})
            _wait_for_disconnect(channel)
        finally:
            keeper.subscribers.remove(subscriber)

    def _make_up_request(self, channel: ControlChannel, message: Message) -> ControlRequest | None:
        """Returns None for a profile that cannot be used. Overrides of earlier requests stay unless replaced here."""
        overrides = {**self.keeper.overrides, **{key: message[key] for key in OVERRIDE_KEYS if message.get(key)}}
        options = {"within_s": message.get("within_s"), "environ": message.get("environ", {}), "overrides": overrides}
        options["consent"] = from_json(UpConsent, message.get("consent", {}))
        try:
            return ControlRequest("up", profile=requested_profile({**message, **overrides}), **options)
        except RemoteRuntimeError as error:
            channel.send({"event": "failed", "error": error.as_dict(), "remains": [], "undone": False})
            return None

    def _receive_until_cancelled(self, subscriber: Subscriber) -> None:
        """Returns when the client cancels or disconnects; passes its answers on meanwhile."""
        try:
            while True:
                reply = subscriber.channel.receive(WAIT_S) or {}
                if reply.get("op") == "answer":
                    self.keeper.subscribers.answer(reply)
                elif reply.get("op") == "cancel":
                    return
        except (EOFError, OSError):
            log.debug("a command has disconnected")

    def _server_log_reply(self, message: Message) -> Message:
        try:
            lines, offset = read_server_log(self.keeper, message["offset"], message["lines"])
        except RemoteRuntimeError as error:
            return {"event": "failed", "error": error.as_dict()}
        return {"event": "log", "lines": lines, "offset": offset}

    def _refresh_status(self) -> None:
        """Checks the path and updates the record, whose facts may be seconds old."""
        keeper = self.keeper
        keeper.record.update(streams=keeper.resources.stream_status())
        if keeper.record.runtime.state != "ready":
            return
        deadline = Deadline(STATUS_TIMEOUT_S)
        result = health.quick_check(keeper.endpoint(), deadline)
        if result.verdict != "ready":
            keeper.record.update(state=result.verdict, why=result.why, seen=now())
            keeper.requests.put(ControlRequest("check"), cancel=False)
            return
        try:
            usage = health.read_usage(keeper.endpoint(), deadline)
        except RemoteRuntimeError as error:
            log.info("can't read its use: %s", error)
            return
        # The server's own count starts again with the server.
        before = keeper.record.runtime.page_requests
        page_requests = before if usage.page_requests is None else max(usage.page_requests, before or 0)
        keeper.record.update(
            rtt_ms=result.rtt_ms,
            kernels=usage.kernels,
            busy_kernels=usage.busy,
            kernel_list=usage.kernel_list,
            load=self.sampler.load(keeper.endpoint()),
            traffic=keeper.resources.traffic(),
            connections=keeper.resources.connections(),
            page_requests=page_requests,
            idle_s=usage.idle_s,
            outputs=usage.outputs,
        )
        server = keeper.record.runtime.server
        if server is not None and server.idle is not None and server.idle.failed != usage.idle_failed:
            keeper.record.update(server=replace(server, idle=replace(server.idle, failed=usage.idle_failed)))


def read_server_log(keeper: ServedKeeper, offset: int | None, lines: int) -> tuple[list[str], int]:
    """The lines of Jupyter's log after ``offset``, or the last ``lines`` if that is None, and the next offset.

    Raises ``LocalError`` ``not-up`` while there is no connection, ``UsageError`` for the user's own server.
    """
    record, profile, session = keeper.record, keeper.profile, keeper.resources.session
    if record.runtime.server is not None and record.runtime.server.attached:
        why = "it uses your own server, whose log is where you started it"
        raise UsageError("usage", f"{profile.name} has no server log", why)
    if session is None or session.closed:
        raise LocalError("not-up", f"{profile.name} is not connected now", record.runtime.why)
    server_spec = server.ServerSpec(profile.name, record.runtime.client_id, profile.jupyter, profile.colab.origins)
    if offset is None:
        part = server.tail_log(session.run, server_spec, lines=lines, deadline=Deadline(SERVER_LOG_TIMEOUT_S))
    else:
        part = server.read_log(session.run, server_spec, offset=offset, deadline=Deadline(SERVER_LOG_TIMEOUT_S))
    return redact(part.text).splitlines(), part.offset


def requested_profile(message: dict[str, Any]) -> Profile:
    """The profile that an `up` names, with the overrides of its command line. Raises ``UsageError``."""
    from .. import profiles  # imports yaml, which the first `up` of a keeper does not need

    extra = tuple(ExtraForward(**each) for each in message.get("extra", ()))
    return replace(profiles.load(message["profile"]), name=message["name"]).overridden(message.get("port"), extra)


def _wait_for_disconnect(channel: ControlChannel) -> None:
    """Keeps the connection open until the client has received the last event and closes it."""
    try:
        while True:
            channel.receive(WAIT_S)
    except (EOFError, OSError):
        return
