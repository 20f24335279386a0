"""The machine's memory and GPUs, as the bridge tells them to Colab's own monitor."""

from __future__ import annotations

import datetime
import json
from typing import Any

from ...core.deadline import Deadline
from ...core.errors import HealthError
from ...core.metrics import GpuLoad, MachineLoad
from ...core.sanitize import clean_line
from .endpoint import Endpoint, request, verify

PATH = "/api/colab/resources"
UNSCRIPTABLE = b")]}'\n"
MAX_GPUS = 16
MAX_BYTES = 1 << 50


def read_load(endpoint: Endpoint, deadline: Deadline) -> MachineLoad:
    """What it is now. Raises ``HealthError``."""
    verify(endpoint, deadline)
    response = request(endpoint, "GET", PATH, {}, deadline)
    try:
        document = json.loads(response.body.removeprefix(UNSCRIPTABLE))
        total = _bytes(document["memory"]["totalBytes"])
        used = max(0, total - _bytes(document["memory"]["freeBytes"]))
        gpus = tuple(_gpu(each) for each in document["gpus"][:MAX_GPUS])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise HealthError(
            "not-answering", "The bridge does not tell the machine's load", f"it answered {response.status}"
        ) from error
    return MachineLoad(used, total, gpus, datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"))


def _gpu(document: Any) -> GpuLoad:
    utilization, used, total = (document[key] for key in ("gpuUtilization", "memoryUsedBytes", "memoryTotalBytes"))
    return GpuLoad(
        clean_line(str(document["name"]), 60),
        None if used is None else _bytes(used),
        _bytes(total) or None if total is not None else None,
        None if utilization is None else min(1.0, utilization) if float(utilization) > 0 else 0.0,
    )


def _bytes(value: Any) -> int:
    return min(MAX_BYTES, max(0, int(value)))
