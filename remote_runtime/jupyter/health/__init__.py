"""Health: what a page of Colab would see through the forwarded port, asked the way the page asks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...core.deadline import Deadline
from ...core.errors import HealthError, Interrupted, RemoteRuntimeError
from ...core.frozen import dataclass
from ...core.model import Health, Verdict
from ...core.sanitize import clean_line
from . import attached, checks
from .cell import run_cell
from .endpoint import Door, ask, knock
from .machine_load import load

__all__ = [
    "NO_PAGE",
    "Door",
    "Use",
    "check",
    "checks",
    "glance",
    "has_page",
    "kernels",
    "knock",
    "load",
    "run_cell",
    "use",
    "wait_until_ready",
]

WATCHDOG_LOOKS_S = 300.0
NO_PAGE = "none"  # the census's word for requests without an origin: a browser's way to a page of the server's own
_MOST_NAMED = 3
VERDICTS: Mapping[str, Verdict] = {"stranger-answered": "stranger"}


def wait_until_ready(door: Door, deadline: Deadline, *, is_lost: Callable[[], bool] = lambda: False) -> Health:
    """Check until everything holds, or the link to the machine ``is_lost``. Raises the last ``HealthError``, or
    ``MachineError``: ``bridge-not-loaded``, or for an attached server ``attach-unfit``."""
    while True:
        try:
            return check(door, deadline)
        except HealthError as error:
            if error.code != "not-answering" or deadline.passed() or is_lost():
                raise
        deadline.pause(0.25)


def check(door: Door, deadline: Deadline) -> Health:
    """The whole path once: proof, token, kernelspecs, CORS, a foreign origin, the bridge's WebSocket."""
    # Half of the time that is left: what was lost on the way is asked for once more.
    rtt_ms = knock(door, deadline.shorter(max(10.0, deadline.remaining_s() / 2)))
    if door.attached is not None:
        return Health("ready", rtt_ms=rtt_ms, lacks=attached.check(door, door.attached, deadline))
    first, *others = door.origins
    checks.token_and_cors(door, first, deadline)
    checks.bridge(door, first, deadline)
    for origin in (first, *others):
        checks.preflight(door, origin, deadline)
    checks.may_start_kernels(door, first, deadline)
    checks.needs_the_token(door, deadline)
    checks.foreign_origin(door, deadline)
    return Health("ready", rtt_ms=rtt_ms)


def glance(door: Door, deadline: Deadline) -> Health:
    """The proof alone, as a value: cheap enough to repeat while the tunnel stands. Raises only ``Interrupted``."""
    try:
        return Health("ready", rtt_ms=knock(door, deadline))
    except Interrupted:
        raise
    except RemoteRuntimeError as error:
        return Health(VERDICTS.get(error.code, "unreachable"), str(error))


@dataclass(frozen=True)
class Use:
    """What the bridge counts. ``page_requests``: requests of the door's origins since the server started, None without
    the bridge; ``idle_s``: for how long nothing was used, None where no watchdog looks; ``idle_failed``: why it could
    not do what it is for, empty as long as it could; ``refused``: origins of pages that it refused, most requests
    first."""

    kernels: int
    busy: int
    page_requests: int | None
    idle_s: float | None = None
    idle_failed: str = ""
    refused: tuple[str, ...] = ()


def use(door: Door, deadline: Deadline) -> Use:
    """Raises ``HealthError``."""
    if not door.is_proved:
        found = kernels(door, deadline)
        return Use(len(found), sum(kernel.get("execution_state") == "busy" for kernel in found), None)
    knock(door, deadline)
    answer = ask(door, "GET", "/api/remote-runtime", {}, deadline)
    found = answer.document()
    try:
        counts = [found["requests"].get(origin, 0) for origin in door.origins]
        busy = sum(kernel["state"] == "busy" for kernel in found["kernels"])
        idle = found.get("idle") or {}
        idle_s = idle.get("idle_s")
        idle_s = None if idle_s is None else float(idle_s)
        if idle_s is not None and not 0 <= idle_s < 2**31:
            raise ValueError(idle_s)
        pages = sum(int(count) for count in counts)
        return Use(len(found["kernels"]), busy, pages, idle_s, _idle_failed(idle), _refused(found))
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise HealthError(
            "not-answering", "The bridge does not tell who uses the server", f"it answered {answer.status}"
        ) from error


def _idle_failed(idle: Mapping[str, Any]) -> str:
    """A watchdog that does not look cannot act; its own looks are half a minute apart at most."""
    age_s = float(idle.get("age_s") or 0.0)
    if age_s > WATCHDOG_LOOKS_S:
        return f"its idle watchdog has not looked for {round(age_s / 60)} minutes"
    return clean_line(str(idle.get("failed") or ""), 400)


def _refused(found: dict[str, Any]) -> tuple[str, ...]:
    counts = found.get("refused") or {}  # a bridge of an older version does not count them
    often = sorted(counts, key=lambda page: -int(counts[page]))
    return tuple(clean_line(page, 100) for page in often[:_MOST_NAMED])


def has_page(door: Door, path: str, deadline: Deadline, *, host: str = "localhost") -> bool:
    """Whether the server has a page there, for a browser that knows it as ``host``. Raises ``HealthError``."""
    knock(door, deadline)
    return ask(door, "GET", path, {"Host": f"{host}:{door.port}"}, deadline).status == 200


def kernels(door: Door, deadline: Deadline) -> list[dict[str, Any]]:
    """The server's kernels, each with ``execution_state``. Raises ``HealthError``."""
    knock(door, deadline)
    answer = ask(door, "GET", "/api/kernels", {}, deadline)
    found = answer.document()
    if answer.status != 200 or not isinstance(found, list):
        raise HealthError("not-answering", "Jupyter does not list its kernels", f"it answered {answer.status}")
    return [kernel for kernel in found if isinstance(kernel, dict)]
