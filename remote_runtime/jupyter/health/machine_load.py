"""The machine's memory and GPUs, as the bridge tells them to Colab's own monitor."""

from __future__ import annotations

import datetime
import json
from typing import Any

from ...core.deadline import Deadline
from ...core.errors import HealthError
from ...core.metrics import GpuLoad, Load
from ...core.sanitize import clean_line
from .endpoint import Door, ask, knock

PATH = "/api/colab/resources"
UNSCRIPTABLE = b")]}'\n"
MOST_GPUS = 16
MOST_BYTES = 1 << 50


def load(door: Door, deadline: Deadline) -> Load:
    """What it is now. Raises ``HealthError``."""
    knock(door, deadline)
    answer = ask(door, "GET", PATH, {}, deadline)
    try:
        found = json.loads(answer.body.removeprefix(UNSCRIPTABLE))
        total = _bytes(found["memory"]["totalBytes"])
        used = max(0, total - _bytes(found["memory"]["freeBytes"]))
        gpus = tuple(_gpu(each) for each in found["gpus"][:MOST_GPUS])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise HealthError(
            "not-answering", "The bridge does not tell the machine's load", f"it answered {answer.status}"
        ) from error
    return Load(used, total, gpus, datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"))


def _gpu(found: Any) -> GpuLoad:
    busy, used, total = (found[key] for key in ("gpuUtilization", "memoryUsedBytes", "memoryTotalBytes"))
    return GpuLoad(
        clean_line(str(found["name"]), 60),
        None if used is None else _bytes(used),
        _bytes(total) or None if total is not None else None,
        None if busy is None else min(1.0, busy) if float(busy) > 0 else 0.0,
    )


def _bytes(value: Any) -> int:
    return min(MOST_BYTES, max(0, int(value)))
