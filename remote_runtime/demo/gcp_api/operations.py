"""Zone and global operations, which ``start``, ``stop`` and other methods return."""

from __future__ import annotations

import random
import secrets
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from .faults import OperationFault
from .values import Json

BASE = "https://www.googleapis.com/compute/v1/"
PACIFIC = timezone(timedelta(hours=-8))


@dataclass
class Operation:
    """``zone``: empty for a global one. ``status``: PENDING, RUNNING, DONE. ``fault``: what it fails with, or None.
    Guarded by the cloud's lock."""

    kind: str
    project: str
    zone: str
    target: str
    target_id: str
    user: str
    status: str = "PENDING"
    id: str = field(default_factory=lambda: new_id())
    name: str = field(default_factory=lambda: _new_name())
    inserted: str = field(default_factory=lambda: timestamp())
    started: str = ""
    ended: str = ""
    fault: OperationFault | None = None

    def start(self) -> None:
        self.status, self.started = "RUNNING", timestamp()

    def finish(self) -> None:
        self.status, self.ended = "DONE", timestamp()

    def as_json(self) -> Json:
        scope_url = f"{BASE}projects/{self.project}/" + (f"zones/{self.zone}" if self.zone else "global")
        answer: Json = {
            "kind": "compute#operation",
            "id": self.id,
            "name": self.name,
            "operationType": self.kind,
            "targetLink": BASE + self.target,
            "targetId": self.target_id,
            "status": self.status,
            "user": self.user,
            "progress": {"PENDING": 0, "RUNNING": 30, "DONE": 100}[self.status],
            "insertTime": self.inserted,
            "selfLink": f"{scope_url}/operations/{self.name}",
        }
        if self.zone:
            answer["zone"] = scope_url
        if self.started:
            answer["startTime"] = self.started
        if self.ended:
            answer["endTime"] = self.ended
        if self.fault and self.status == "DONE":
            answer |= self.fault.as_json(self.project, self.zone)
        return answer


def new_id() -> str:
    """A 64-bit number as Google's JSON writes it, always too large for a double."""
    return str(random.SystemRandom().randrange(2**60, 2**63))


def timestamp() -> str:
    return datetime.now(PACIFIC).isoformat(timespec="milliseconds")


def _new_name() -> str:
    parts = (str(time.time_ns() // 1_000_000), secrets.token_hex(7)[:13], secrets.token_hex(4), secrets.token_hex(4))
    return "-".join(("operation", *parts))
