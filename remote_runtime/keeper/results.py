"""How a keeper's life ends: what its state file says then, and what whoever asked is told."""

from __future__ import annotations

from dataclasses import replace

from ..core.documents import as_stopped
from ..core.errors import Interrupted
from ..core.stopped import Stopped
from .requests import Order
from .runtime_record import Record, now
from .subscribers import Audience

KEPT = "Jupyter was left running on the machine: `up` takes it over again, `down` ends it"


def taken_down(end: Stopped, order: Order, record: Record, audience: Audience) -> None:
    if end.remains:
        record.update(state="down", why="; ".join(end.remains), seen=now())
    elif end.is_kept_for_us:
        record.update(state="down", why=KEPT, seen=now())
    elif (error := record.forget()) is not None:
        end = replace(end, remains=(f"its state file stays: {error}",))
    audience.send({"event": "failed", "error": Interrupted("it was taken down").as_dict(), "remains": []})
    order.answer({"event": "stopped", **as_stopped(end)})


def nothing_to_take_down(orders: list[Order], name: str) -> None:
    """Those asked for `down` while it did not come up."""
    for order in orders:
        order.answer({"event": "stopped", **as_stopped(Stopped(name, True, "unknown", None))})
