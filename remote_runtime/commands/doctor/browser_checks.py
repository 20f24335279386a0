"""Checks the forwarded port with the requests that Colab sends."""

from __future__ import annotations

from collections.abc import Mapping

from ...core.deadline import Deadline
from ...core.errors import HealthError
from ...core.metrics import Connections
from ...jupyter import health
from ...jupyter.health import attached, checks
from .checklist import Checklist

CHECKS = ("answer", "token", "cors", "private-network", "websocket", "kernel")
KERNEL_TIMEOUT_S = 60.0
NOT_CONNECTED_YET = "Colab has not connected yet"


def check_page(checklist: Checklist, endpoint: health.Endpoint, deadline: Deadline, ready_s: float = 30.0) -> None:
    """Run ``CHECKS``, all but the last within ``ready_s``. The last starts a kernel, runs one cell and shuts it
    down."""
    page_deadline = deadline.within(ready_s)
    origin = endpoint.origins[0]
    pages = ", ".join(endpoint.origins)
    missing: list[str] = []

    def check_answer() -> Mapping[str, str]:
        whose = "Jupyter authenticated and responded" if endpoint.can_prove_identity else "Your server responded"
        return {"answer": f"{whose} in {health.verify(endpoint, page_deadline):.0f} ms"}

    def check_access() -> Mapping[str, str]:
        if endpoint.attached is not None:
            missing.extend(attached.check(endpoint, endpoint.attached, page_deadline))
            return {"token": "Accepted", "cors": f"{pages} is allowed"}
        for each in endpoint.origins:
            checks.token_and_cors(endpoint, each, page_deadline)
            checks.preflight(endpoint, each, page_deadline)
        checks.may_start_kernels(endpoint, origin, page_deadline)
        checks.needs_the_token(endpoint, page_deadline)
        checks.foreign_origin(endpoint, page_deadline)
        return {"token": "Accepted", "cors": f"Only {pages} is allowed"}

    def check_bridge() -> Mapping[str, str]:
        for each in endpoint.origins:
            checks.bridge(endpoint, each, page_deadline)
        return {"websocket": "The Colab extension responds"}

    def check_kernel() -> Mapping[str, str]:
        try:
            took_s = health.run_cell(endpoint, deadline.within(max(KERNEL_TIMEOUT_S, ready_s)))
        except HealthError as error:
            notes = [
                note
                for note in (endpoint.attached.notes if endpoint.attached else ())
                if note.startswith("no cell can")
            ]
            if not notes:
                raise
            raise HealthError(error.code, error.what, "; ".join(notes), error.hint) from error
        return {"kernel": f"A new kernel ran a cell in {took_s:.1f} s, then shut down"}

    checklist.step(["answer"], check_answer)
    checklist.step(["token", "cors"], check_access)
    if checklist.blocked_by:
        checklist.skip("private-network")
    elif checks.preflight(endpoint, origin, page_deadline):
        checklist.ok("private-network", "Allowed")
    else:
        checklist.warn(
            "private-network",
            "The server does not allow private network access",
            "Chrome 130 to 141 require Access-Control-Allow-Private-Network in the preflight response",
            "Update Chrome; or use the Colab extension: `remote-runtime down PROFILE`, `remote-runtime up PROFILE`",
        )
    if endpoint.attached is not None and missing and not checklist.blocked_by:
        what = "Colab can use your server, but settings are missing"
        checklist.warn("websocket", what, "; ".join(missing), attached.add_the_bridge(endpoint.attached))
    else:
        checklist.step(["websocket"], check_bridge, essential=False)
    checklist.step(["kernel"], check_kernel, essential=False)


def check_browser_seen(
    checklist: Checklist, connections: Connections, page_requests: int | None, refused: tuple[str, ...] = ()
) -> None:
    """Whether the keeper and the bridge have counted requests of Colab. ``refused``: origins that were refused."""
    silent = connections.empty + connections.waiting
    if refused and not page_requests:
        checklist.warn(
            "colab",
            f"A page of {refused[0]} was refused",
            f"`colab.origins` does not list {', '.join(refused)}",
            "If you opened Colab there, add it to `colab.origins` in the profile; then `remote-runtime down PROFILE` "
            "and `remote-runtime up PROFILE`",
        )
    elif page_requests:
        requests = "1 request" if page_requests == 1 else f"{page_requests} requests"
        checklist.ok("colab", f"Colab has connected ({requests})")
    elif page_requests is None:
        checklist.blocked_by = checklist.blocked_by or "answer"
        checklist.skip("colab")
    elif connections.tls:
        checklist.warn(
            "colab",
            "A browser opened the local port with https://",
            "the local port speaks http; SSH encrypts the connection to the machine",
            "Use http://: `remote-runtime url PROFILE` prints the URL",
        )
    elif silent:
        times = "once" if silent == 1 else f"{silent} times"
        checklist.warn(
            "colab",
            f"A browser connected {times} and sent nothing; Colab has not connected yet",
            "the browser denied the permission, or is still asking for it",
            'Allow "Access other apps and services on this device" in the browser\'s site settings for Colab, then '
            "connect in Colab again",
        )
    else:
        observed = "no browser has connected" if not connections.carried else "all connections came from other programs"
        checklist.warn(
            "colab",
            NOT_CONNECTED_YET,
            observed,
            "In Colab: Connect → Connect to a local runtime → paste the URL that `remote-runtime url PROFILE` prints",
        )
