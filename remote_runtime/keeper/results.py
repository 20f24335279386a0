"""How a keeper's life ends: what its state file says then, and what whoever asked is told."""

from __future__ import annotations

from dataclasses import replace

from ..core.documents import take_down_document
from ..core.errors import Interrupted
from ..core.stopped import TakeDownResult
from .requests import ControlRequest
from .runtime_record import RuntimeRecord, now
from .subscribers import Subscribers

SERVER_LEFT_RUNNING = "Jupyter was left running on the machine: `up` takes it over again, `down` ends it"


def report_taken_down(
    result: TakeDownResult, request: ControlRequest, record: RuntimeRecord, subscribers: Subscribers
) -> None:
    if result.remains:
        record.update(state="down", why="; ".join(result.remains), seen=now())
    elif result.server_still_ours:
        record.update(state="down", why=SERVER_LEFT_RUNNING, seen=now())
    elif (error := record.delete()) is not None:
        result = replace(result, remains=(f"its state file stays: {error}",))
    subscribers.send({"event": "failed", "error": Interrupted("it was taken down").as_dict(), "remains": []})
    request.reply({"event": "stopped", **take_down_document(result)})


def report_nothing_to_take_down(requests: list[ControlRequest], name: str) -> None:
    """Those asked for `down` while it did not come up."""
    for request in requests:
        request.reply({"event": "stopped", **take_down_document(TakeDownResult(name, True, "unknown", None))})
