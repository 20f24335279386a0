"""What a keeper saves and reports when the runtime is stopped, and after an outage."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Any, Literal

from ..core.documents import take_down_document
from ..core.errors import Interrupted, RemoteRuntimeError
from ..core.model import Runtime, TakeDownResult
from ..lifecycle.resources import Resources
from .requests import ControlRequest
from .runtime_record import RuntimeRecord, now
from .subscribers import Subscribers

log = logging.getLogger(__name__)
SERVER_LEFT_RUNNING = "Jupyter is still running on the machine: `up` reconnects to it, `down` stops it"


def report_taken_down(
    result: TakeDownResult, request: ControlRequest, record: RuntimeRecord, subscribers: Subscribers
) -> None:
    if result.remains:
        record.update(state="down", why="; ".join(result.remains), seen=now())
    elif result.server_still_ours:
        record.update(state="down", why=SERVER_LEFT_RUNNING, seen=now())
    elif (error := record.delete()) is not None:
        result = replace(result, remains=(f"its state file can't be removed: {error}",))
    subscribers.send(
        {"event": "failed", "error": Interrupted(why="`remote-runtime down` stopped it").as_dict(), "remains": []}
    )
    request.reply({"event": "stopped", **take_down_document(result)})


def finished_facts(runtime: Runtime) -> dict[str, Any]:
    """Of an `up` that has succeeded. The disks belong to the VM from now on, and are deleted with it or stay."""
    return {"unfinished": False, "resources": tuple(each for each in runtime.resources if each.kind != "disk")}


def save_failed_start(record: RuntimeRecord, error: RemoteRuntimeError) -> bool:
    """Whether something is left of a start that failed; the state file says what then."""
    log.warning("the start failed: %s: %s", error.code, error)
    runtime = record.runtime
    has_leftovers = bool(error.remains or runtime.resources) or not runtime.unfinished
    if has_leftovers:
        record.update(state="down", why=leftover_text(error, runtime), last_error=error.as_dict())
    return has_leftovers


def failure_to_save(error: RemoteRuntimeError) -> dict[str, str] | None:
    """For the next run of this name; None if a user cancelled it."""
    return None if isinstance(error, Interrupted) else {**error.as_dict(), "at": now()}


def leftover_text(error: RemoteRuntimeError, runtime: Runtime) -> str:
    """What a start that failed has left."""
    if not error.remains and runtime.resources:
        return f"{runtime.resources[0].name} in {runtime.resources[0].zone} was created and still exists"
    return "; ".join(error.remains) or "Jupyter may still be running on the machine"


def did_nothing(runtime: Runtime) -> bool:
    """Whether no run of this name started or changed anything, so that its files are of no use."""
    has_vm = runtime.instance is not None and runtime.instance.kind in ("gce", "demo")
    return not (has_vm or runtime.folder or runtime.keys)


def report_not_taken_down(error: RemoteRuntimeError, request: ControlRequest) -> Literal[False]:
    """The client has left if it did not confirm."""
    log.info("it stays running: %s", error)
    request.reply({"event": "refused", "error": error.as_dict()})
    return False


def report_nothing_to_take_down(requests: list[ControlRequest], name: str) -> None:
    """Replies to requests for `down` of a runtime that did not come up."""
    for request in requests:
        request.reply({"event": "stopped", **take_down_document(TakeDownResult(name, True, "unknown", None))})


class Outage:
    """Starts when it is created. Measured by the wall clock: a computer's sleep counts."""

    def __init__(self, resources: Resources, why: str) -> None:
        self._resources = resources
        self._link_before = _link_of(resources)
        self._why = why
        self._began_at = now()
        self._began_s = time.time()
        status = resources.stream_status()
        self._resets_before = status.reset if status is not None else 0

    def begin_text(self) -> str:
        """For a person who watches."""
        waiting = self._waiting()
        connections = f"; {_count(waiting)} {'waits' if waiting == 1 else 'wait'}" if waiting else ""
        return f"Reconnecting: {self._why}{connections}"

    def finish(self, record: RuntimeRecord) -> str:
        """Saves the outage; counts a reconnect if there is a new connection or a new server. Returns the result for a
        person who watches."""
        lasted_s = round(max(0.0, time.time() - self._began_s), 1)
        is_new_link = self._link_before != _link_of(self._resources)
        reconnects = record.runtime.reconnects + is_new_link
        restarted, self._resources.restart_reason = self._resources.restart_reason, ""
        outage: dict[str, str | float] = {"why": self._why, "at": self._began_at, "lasted_s": lasted_s}
        record.update(reconnects=reconnects, last_outage={**outage, **({"restarted": restarted} if restarted else {})})
        if restarted:
            log.warning("%s", restarted)
        log.info("ready again after %s s (%s)", lasted_s, self._why)
        status = self._resources.stream_status()
        resets = status.reset - self._resets_before if status is not None else 0
        lost = f"; {_count(resets)} {'was' if resets == 1 else 'were'} reset: {status.why}" if status and resets else ""
        return f"Reconnected after {lasted_s:.0f} s{lost}"

    def _waiting(self) -> int:
        status = self._resources.stream_status()
        return status.waiting if status is not None else 0


def _count(connections: int) -> str:
    return f"{connections} open connection{'' if connections == 1 else 's'}"


def _link_of(resources: Resources) -> tuple[int, int]:
    return id(resources.session), resources.server.pid if resources.server else 0
