"""Checks the forwarded port with the requests that Colab's page sends."""

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


def check_page(checklist: Checklist, endpoint: health.Endpoint, deadline: Deadline, ready_s: float = 30.0) -> None:
    """Run ``CHECKS``, all but the last within ``ready_s``. The last starts a kernel, runs one cell and shuts it
    down."""
    page_deadline = deadline.within(ready_s)
    origin = endpoint.origins[0]
    pages = ", ".join(endpoint.origins)
    missing: list[str] = []

    def check_answer() -> Mapping[str, str]:
        whose = "our server answers and proves itself" if endpoint.can_prove_identity else "your server answers"
        return {"answer": f"{whose}, in {health.verify(endpoint, page_deadline):.0f} ms"}

    def check_access() -> Mapping[str, str]:
        if endpoint.attached is not None:
            missing.extend(attached.check(endpoint, endpoint.attached, page_deadline))
            return {"token": "it opens the list of kernels", "cors": f"pages of {pages} may call it"}
        for each in endpoint.origins:
            checks.token_and_cors(endpoint, each, page_deadline)
            checks.preflight(endpoint, each, page_deadline)
        checks.may_start_kernels(endpoint, origin, page_deadline)
        checks.needs_the_token(endpoint, page_deadline)
        checks.foreign_origin(endpoint, page_deadline)
        return {"token": "it opens the list of kernels", "cors": f"pages of {pages} may call it, others may not"}

    def check_bridge() -> Mapping[str, str]:
        for each in endpoint.origins:
            checks.bridge(endpoint, each, page_deadline)
        return {"websocket": "the bridge answers a page"}

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
        return {"kernel": f"a new kernel ran a cell within {took_s:.1f} s, and is gone again"}

    checklist.step(["answer"], check_answer)
    checklist.step(["token", "cors"], check_access)
    if checklist.blocked_by:
        checklist.skip("private-network")
    elif checks.preflight(endpoint, origin, page_deadline):
        checklist.ok("private-network", "pages of the internet may call it")
    else:
        checklist.warn(
            "private-network",
            "the server does not let pages of the internet call it",
            "Chrome 130 to 141 want Access-Control-Allow-Private-Network in the answer to a preflight",
            "Update Chrome, or take our bridge: `remote-runtime down PROFILE`, then `remote-runtime up PROFILE`",
        )
    if endpoint.attached is not None and missing and not checklist.blocked_by:
        what = "Colab can use your server, but its settings lack something"
        checklist.warn("websocket", what, "; ".join(missing), attached.add_the_bridge(endpoint.attached))
    else:
        checklist.step(["websocket"], check_bridge, essential=False)
    checklist.step(["kernel"], check_kernel, essential=False)


def check_browser_seen(
    checklist: Checklist, connections: Connections, page_requests: int | None, refused: tuple[str, ...] = ()
) -> None:
    """Whether the keeper and the bridge have counted requests of Colab's page. ``refused``: origins that were
    refused."""
    silent = connections.empty + connections.waiting
    if refused and not page_requests:
        checklist.warn(
            "colab",
            f"a page of {refused[0]} was refused",
            f"`colab.origins` does not list {', '.join(refused)}",
            "If that is where you opened Colab, add it to `colab.origins` in the profile; then `remote-runtime down "
            "PROFILE` and `remote-runtime up PROFILE`",
        )
    elif page_requests:
        requests = "a request" if page_requests == 1 else f"{page_requests} requests"
        checklist.ok("colab", f"{requests} of Colab's page arrived")
    elif page_requests is None:
        checklist.blocked_by = checklist.blocked_by or "answer"
        checklist.skip("colab")
    elif connections.tls:
        checklist.warn(
            "colab",
            "a browser opened the local port with https://",
            "the port speaks http, and SSH encrypts the rest of the way",
            "Open http://, not https://: `remote-runtime url PROFILE` prints the URL",
        )
    elif silent:
        times = "once" if silent == 1 else f"{silent} times"
        checklist.warn(
            "colab",
            f"a browser connected {times} and sent nothing; Colab's page has not been heard yet",
            "the browser's permission was denied, or it is still asking",
            'Allow "Access other apps and services on this device" in the browser\'s site settings for Colab, then '
            "connect in Colab again",
        )
    else:
        observed = (
            "no connection came at all" if not connections.carried else "what connected was no page that it may serve"
        )
        checklist.warn(
            "colab",
            "Colab's page has not been heard yet",
            observed,
            "In Colab: Connect → Connect to a local runtime → paste what `remote-runtime url PROFILE` prints",
        )
