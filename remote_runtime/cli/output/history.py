"""What `status --watch` remembers of a runtime."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import format

MAX_SAMPLES = 600


@dataclass
class History:
    """The samples of one runtime, oldest first; None where a value was unknown."""

    samples: dict[str, deque[float | None]] = field(default_factory=dict)
    traffic: tuple[float, int, int] | None = None

    def update(self, runtime: Mapping[str, Any], at_s: float) -> None:
        """``runtime``: RUNTIME; ``at_s``: the time on a monotonic clock."""
        is_ready = runtime["state"] == "ready"
        load = (runtime["load"] if is_ready else None) or {}
        gpus = load.get("gpus", ())
        sent, received = self._rates(runtime, at_s)
        self._add("CPU", load.get("cpu"))
        self._add("memory", memory_share([load] if load else []))
        self._add("GPU", format.mean_busy(gpus))
        self._add("GPU memory", memory_share(gpus))
        self._add("latency", runtime["rtt_ms"] if is_ready else None)
        self._add("received", received)
        self._add("sent", sent)

    def last(self, name: str, count: int) -> list[float | None]:
        return list(self.samples.get(name, ()))[-count:]

    def _add(self, name: str, value: float | None) -> None:
        self.samples.setdefault(name, deque(maxlen=MAX_SAMPLES)).append(value)

    def _rates(self, runtime: Mapping[str, Any], at_s: float) -> tuple[float | None, float | None]:
        """Bytes per second since the last update. None after a restart of the keeper, whose counts begin at 0."""
        now = (at_s, runtime["traffic"]["sent"], runtime["traffic"]["received"])
        before, self.traffic = self.traffic, now
        if before is None or at_s <= before[0] or now[1] < before[1] or now[2] < before[2]:
            return None, None
        return (now[1] - before[1]) / (at_s - before[0]), (now[2] - before[2]) / (at_s - before[0])


def memory_share(holders: Sequence[Mapping[str, Any]]) -> float | None:
    known = format.known_memory(holders)
    return sum(used for used, _ in known) / sum(total for _, total in known) if known else None
