"""What Colab's page meets at the forwarded port: asked the way the page asks, one promise at a time."""

from __future__ import annotations

from collections.abc import Mapping

from ...core.deadline import Deadline
from ...core.errors import HealthError
from ...core.model import Connections
from ...jupyter import health
from ...jupyter.health import attached, checks
from .checklist import Checkup

CHECKS = ("answer", "token", "cors", "private-network", "websocket", "kernel")
KERNEL_S = 60.0


def look(checkup: Checkup, door: health.Door, deadline: Deadline, ready_s: float = 30.0) -> None:
    """All of ``CHECKS``, in ``ready_s`` but for the last: a kernel is started for one cell, and ended."""
    within = deadline.shorter(ready_s)
    origin = door.origins[0]
    pages = ", ".join(door.origins)
    lacks: list[str] = []

    def answers() -> Mapping[str, str]:
        whose = "our server answers and proves itself" if door.is_proved else "your server answers"
        return {"answer": f"{whose}, in {health.knock(door, within):.0f} ms"}

    def serves() -> Mapping[str, str]:
        if door.attached is not None:
            lacks.extend(attached.check(door, door.attached, within))
            return {"token": "it opens the list of kernels", "cors": f"pages of {pages} may call it"}
        for each in door.origins:
            checks.token_and_cors(door, each, within)
            checks.preflight(door, each, within)
        checks.may_start_kernels(door, origin, within)
        checks.needs_the_token(door, within)
        checks.foreign_origin(door, within)
        return {"token": "it opens the list of kernels", "cors": f"pages of {pages} may call it, others may not"}

    def bridges() -> Mapping[str, str]:
        for each in door.origins:
            checks.bridge(door, each, within)
        return {"websocket": "the bridge answers a page"}

    def runs() -> Mapping[str, str]:
        try:
            took_s = health.run_cell(door, deadline.shorter(max(KERNEL_S, ready_s)))
        except HealthError as error:
            known = [note for note in (door.attached.notes if door.attached else ()) if note.startswith("no cell can")]
            if not known:
                raise
            raise HealthError(error.code, error.what, "; ".join(known), error.hint) from error
        return {"kernel": f"a new kernel ran a cell within {took_s:.1f} s, and is gone again"}

    checkup.step(["answer"], answers)
    checkup.step(["token", "cors"], serves)
    if checkup.needs:
        checkup.skip("private-network")
    elif checks.preflight(door, origin, within):
        checkup.holds("private-network", "pages of the internet may call it")
    else:
        checkup.warn(
            "private-network",
            "the server does not let pages of the internet call it",
            "Chrome 130 to 141 want Access-Control-Allow-Private-Network in the answer to a preflight",
            "Update Chrome, or take our bridge: `remote-runtime down PROFILE`, then `remote-runtime up PROFILE`",
        )
    if door.attached is not None and lacks and not checkup.needs:
        what = "Colab can use your server, but its settings lack something"
        checkup.warn("websocket", what, "; ".join(lacks), attached.add_the_bridge(door.attached))
    else:
        checkup.step(["websocket"], bridges, essential=False)
    checkup.step(["kernel"], runs, essential=False)


def audience(
    checkup: Checkup, connections: Connections, page_requests: int | None, refused: tuple[str, ...] = ()
) -> None:
    """Whether a page of Colab was ever heard, as the keeper and the bridge have counted it. ``refused``: origins."""
    silent = connections.empty + connections.waiting
    if refused and not page_requests:
        checkup.warn(
            "colab",
            f"a page of {refused[0]} was refused",
            f"`colab.origins` does not list {', '.join(refused)}",
            "If that is where you opened Colab, add it to `colab.origins` in the profile; then `remote-runtime down "
            "PROFILE` and `remote-runtime up PROFILE`",
        )
    elif page_requests:
        requests = "a request" if page_requests == 1 else f"{page_requests} requests"
        checkup.holds("colab", f"{requests} of Colab's page arrived")
    elif page_requests is None:
        checkup.needs = checkup.needs or "answer"
        checkup.skip("colab")
    elif connections.tls:
        checkup.warn(
            "colab",
            "a browser opened the local port with https://",
            "the port speaks http, and SSH encrypts the rest of the way",
            "Open http://, not https://: `remote-runtime url PROFILE` prints the URL",
        )
    elif silent:
        times = "once" if silent == 1 else f"{silent} times"
        checkup.warn(
            "colab",
            f"a browser connected {times} and sent nothing; Colab's page has not been heard yet",
            "the browser's permission was denied, or it is still asking",
            'Allow "Access other apps and services on this device" in the browser\'s site settings for Colab, then '
            "connect in Colab again",
        )
    else:
        came = (
            "no connection came at all" if not connections.carried else "what connected was no page that it may serve"
        )
        checkup.warn(
            "colab",
            "Colab's page has not been heard yet",
            came,
            "In Colab: Connect → Connect to a local runtime → paste what `remote-runtime url PROFILE` prints",
        )
