"""Checks a runtime through its forwarded port, with the requests that Colab's page makes."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping
from typing import Any

from ...core.deadline import Deadline
from ...core.errors import HealthError, Interrupted, RemoteRuntimeError
from ...core.fast_dataclass import fast_dataclass
from ...core.metrics import DiskUsage, GpuLoad, KernelStatus, MachineLoad, RecordedOutputs
from ...core.model import Health, Verdict
from ...core.sanitize import clean_line
from . import attached
from . import checks as checks
from .cell import run_cell as run_cell
from .endpoint import Endpoint as Endpoint
from .endpoint import request
from .endpoint import verify as verify

MAX_WATCHDOG_AGE_S = 300.0
NO_PAGE = "none"  # the bridge counts requests without an origin under this name: a browser that opens a server's page
_MAX_REFUSED_ORIGINS = 3
LOAD_PATH = "/api/colab/resources"
UNSCRIPTABLE = b")]}'\n"
MAX_GPUS = 16
MAX_KERNELS = 100
MAX_BYTES = 1 << 50
VERDICTS: Mapping[str, Verdict] = {"stranger-answered": "stranger"}


def wait_until_ready(endpoint: Endpoint, deadline: Deadline, *, is_lost: Callable[[], bool] = lambda: False) -> Health:
    """Checks until all checks pass, or the connection to the machine ``is_lost``. Raises the last ``HealthError``, or
    ``MachineError``: ``bridge-not-loaded``, or ``attach-unfit`` for an attached server."""
    while True:
        try:
            return check(endpoint, deadline)
        except HealthError as error:
            if error.code != "not-answering" or deadline.passed() or is_lost():
                raise
        deadline.sleep(0.25)


def check(endpoint: Endpoint, deadline: Deadline) -> Health:
    """All checks once: identity, token, kernelspecs, CORS, a foreign origin, the bridge's WebSocket."""
    # Half of the time that is left, so that a lost request can be repeated.
    rtt_ms = verify(endpoint, deadline.within(max(10.0, deadline.remaining_s() / 2)))
    if endpoint.attached is not None:
        return Health("ready", rtt_ms=rtt_ms, missing_settings=attached.check(endpoint, endpoint.attached, deadline))
    first, *others = endpoint.origins
    checks.token_and_cors(endpoint, first, deadline)
    checks.bridge(endpoint, first, deadline)
    for origin in (first, *others):
        checks.preflight(endpoint, origin, deadline)
    checks.may_start_kernels(endpoint, first, deadline)
    checks.needs_the_token(endpoint, deadline)
    checks.foreign_origin(endpoint, deadline)
    return Health("ready", rtt_ms=rtt_ms)


def quick_check(endpoint: Endpoint, deadline: Deadline) -> Health:
    """The identity only, cheap enough to repeat often. Returns failures, and raises only ``Interrupted``."""
    try:
        return Health("ready", rtt_ms=verify(endpoint, deadline))
    except Interrupted:
        raise
    except RemoteRuntimeError as error:
        return Health(VERDICTS.get(error.code, "unreachable"), str(error))


@fast_dataclass(frozen=True)
class Usage:
    """What the bridge counts. ``page_requests``: requests of pages of the endpoint's origins since the server started,
    None without the bridge; ``idle_s``: for how long nothing was used, None without a watchdog; ``idle_failed``: why
    the watchdog could not apply its rule, empty if it could; ``refused``: origins of refused pages, most requests
    first."""

    kernels: int
    busy: int
    page_requests: int | None
    idle_s: float | None = None
    idle_failed: str = ""
    refused: tuple[str, ...] = ()
    kernel_list: tuple[KernelStatus, ...] = ()
    outputs: RecordedOutputs | None = None


def read_usage(endpoint: Endpoint, deadline: Deadline) -> Usage:
    """Raises ``HealthError``."""
    if not endpoint.can_prove_identity:
        listed = list_kernels(endpoint, deadline)
        busy = sum(kernel.get("execution_state") == "busy" for kernel in listed)
        kernels = tuple(_kernel(kernel, kernel.get("execution_state")) for kernel in listed[:MAX_KERNELS])
        return Usage(len(listed), busy, None, kernel_list=kernels)
    verify(endpoint, deadline)
    response = request(endpoint, "GET", "/api/remote-runtime", {}, deadline)
    document = response.document()
    try:
        counts = [document["requests"].get(origin, 0) for origin in endpoint.origins]
        busy = sum(kernel["state"] == "busy" for kernel in document["kernels"])
        idle = document.get("idle") or {}
        idle_s = idle.get("idle_s")
        idle_s = None if idle_s is None else float(idle_s)
        if idle_s is not None and not 0 <= idle_s < 2**31:
            raise ValueError(idle_s)
        pages = sum(int(count) for count in counts)
        kernels = tuple(_kernel(kernel, kernel["state"]) for kernel in document["kernels"][:MAX_KERNELS])
        failed, refused = _idle_failed(idle), _refused(document)
        return Usage(len(document["kernels"]), busy, pages, idle_s, failed, refused, kernels, _outputs(document))
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise HealthError(
            "not-answering", "The bridge does not report the server's use", f"status {response.status}"
        ) from error


def _kernel(document: Mapping[str, Any], state: Any) -> KernelStatus:
    texts = (document.get("id"), document.get("name"), document.get("path"), state, document.get("last_activity"))
    return KernelStatus(*(clean_line(str(text or ""), 200) for text in texts))


def _outputs(document: Mapping[str, Any]) -> RecordedOutputs | None:
    """None of a server that records none, and of older bridges."""
    outputs = document.get("outputs")
    if outputs is None:
        return None
    return RecordedOutputs(_bytes(outputs["requests"]), _bytes(outputs["bytes"]), clean_line(outputs["paused"], 200))


def _idle_failed(idle: Mapping[str, Any]) -> str:
    """Also when its last check is too old: it checks at least every minute."""
    age_s = float(idle.get("age_s") or 0.0)
    if age_s > MAX_WATCHDOG_AGE_S:
        return f"its idle watchdog has not checked for {round(age_s / 60)} minutes"
    return clean_line(str(idle.get("failed") or ""), 400)


def _refused(document: dict[str, Any]) -> tuple[str, ...]:
    counts = document.get("refused") or {}  # older bridges do not count them
    by_count = sorted(counts, key=lambda page: -int(counts[page]))
    return tuple(clean_line(page, 100) for page in by_count[:_MAX_REFUSED_ORIGINS])


def has_page(endpoint: Endpoint, path: str, deadline: Deadline, *, host: str = "localhost") -> bool:
    """Whether the server has a page at ``path``, for a browser that calls it ``host``. Raises ``HealthError``."""
    verify(endpoint, deadline)
    return request(endpoint, "GET", path, {"Host": f"{host}:{endpoint.port}"}, deadline).status == 200


def list_kernels(endpoint: Endpoint, deadline: Deadline) -> list[dict[str, Any]]:
    """The server's kernels, each with ``execution_state``. Raises ``HealthError``."""
    verify(endpoint, deadline)
    response = request(endpoint, "GET", "/api/kernels", {}, deadline)
    documents = response.document()
    if response.status != 200 or not isinstance(documents, list):
        raise HealthError("not-answering", "Jupyter does not list its kernels", f"status {response.status}")
    return [kernel for kernel in documents if isinstance(kernel, dict)]


def read_load(endpoint: Endpoint, deadline: Deadline) -> MachineLoad:
    """The machine's memory and GPUs now, from the bridge. Raises ``HealthError``."""
    verify(endpoint, deadline)
    response = request(endpoint, "GET", LOAD_PATH, {}, deadline)
    try:
        document = json.loads(response.body.removeprefix(UNSCRIPTABLE))
        total = _bytes(document["memory"]["totalBytes"])
        used = max(0, total - _bytes(document["memory"]["freeBytes"]))
        gpus = tuple(_gpu(each) for each in document["gpus"][:MAX_GPUS])
        own = document.get("remoteRuntime") or {}  # older bridges have none
        cpu = None if own.get("cpu") is None else _share(own["cpu"])
        disk = _disk(own["disk"]) if own.get("disk") else None
        kernels = {clean_line(str(each["uuid"]), 200): _bytes(each["usedBytes"]) for each in _kernels_of(document)}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise HealthError(
            "not-answering", "The bridge does not report the machine's load", f"status {response.status}"
        ) from error
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return MachineLoad(used, total, gpus, now, cpu, disk, kernels)


def _kernels_of(document: Any) -> list[Any]:
    return list(document["memory"].get("kernels") or ())[:MAX_KERNELS]


def _disk(document: Any) -> DiskUsage:
    used, total = _bytes(document["usedBytes"]), _bytes(document["totalBytes"])
    return DiskUsage(clean_line(str(document["path"]), 200), used, total)


def _gpu(document: Any) -> GpuLoad:
    utilization, used, total = (document[key] for key in ("gpuUtilization", "memoryUsedBytes", "memoryTotalBytes"))
    temperature = document.get("temperatureCelsius")
    return GpuLoad(
        clean_line(str(document["name"]), 60),
        None if used is None else _bytes(used),
        _bytes(total) or None if total is not None else None,
        None if utilization is None else _share(utilization),
        None if temperature is None else min(1000.0, max(-1000.0, float(temperature))),
    )


def _share(value: Any) -> float:
    return min(1.0, float(value)) if float(value) > 0 else 0.0


def _bytes(value: Any) -> int:
    return min(MAX_BYTES, max(0, int(value)))
