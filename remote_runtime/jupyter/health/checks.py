"""What Colab's page needs of the server, one promise at a time. Each raises ``HealthError`` or ``MachineError``."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace

from ...core.deadline import Deadline
from ...core.errors import HealthError, MachineError
from ...core.model import Secret
from ...core.sanitize import clean_line
from .endpoint import MAX_RESPONSE_BYTES, OWN_REQUEST_HEADERS, Endpoint, request

FOREIGN_ORIGIN = "https://not-colab.example"


def token_and_cors(endpoint: Endpoint, origin: str, deadline: Deadline) -> None:
    """The token opens the list of kernels, and a page of ``origin`` may read it."""
    response = request(endpoint, "GET", "/api/kernelspecs", {"Origin": origin}, deadline)
    if response.status in (401, 403):
        if refuses_token(endpoint, deadline):
            raise HealthError(
                "token-refused", "Jupyter refuses the token", f"GET /api/kernelspecs answered {response.status}"
            )
        raise _origin_refused(f"a request of {origin} was answered with {response.status}")
    if response.status != 200:
        raise HealthError("not-answering", "Jupyter does not list its kernels", f"it answered {response.status}")
    if not response.allows(origin):
        raise _origin_refused(f"the answer to {origin} carries no Access-Control-Allow-Origin for it")
    document = response.document()
    if not isinstance(document, dict) or not document.get("kernelspecs"):
        raise MachineError(
            "jupyter-missing",
            "Jupyter on the machine has no kernel",
            "its list of kernelspecs is empty",
            "Install ipykernel in that environment, or name another interpreter in `jupyter.python`",
        )


def refuses_token(endpoint: Endpoint, deadline: Deadline) -> bool:
    """Whether it is the token that is refused: who asks is no page here."""
    return request(endpoint, "GET", "/api/kernelspecs", {}, deadline).status in (401, 403)


def needs_the_token(endpoint: Endpoint, deadline: Deadline) -> None:
    """Without it nothing is had, whatever the server loads to find out who asks."""
    response = request(replace(endpoint, token=Secret("")), "GET", "/api/kernels", {}, deadline)
    if response.status not in (401, 403):
        raise HealthError(
            "token-not-required",
            "Jupyter lets everybody in",
            f"GET /api/kernels without a token was answered with {response.status}, not 403",
            "`remote-runtime logs PROFILE --server` shows what the server loaded",
        )


def may_start_kernels(endpoint: Endpoint, origin: str, deadline: Deadline) -> None:
    """The token also allows what changes something. A session of nothing cannot be made: 400 after the server has let
    the request in."""
    response = request(endpoint, "POST", "/api/sessions", {"Origin": origin}, deadline)
    if response.status in (401, 403):
        raise HealthError(
            "token-refused",
            "Jupyter starts no kernel for the token",
            f"POST /api/sessions answered {response.status}, though the token may read",
            "`remote-runtime logs PROFILE --server` shows what the server loaded",
        )


def preflight(endpoint: Endpoint, origin: str, deadline: Deadline) -> bool:
    """A page of ``origin`` may send what needs the browser's question first. Answers whether the server also allows it
    to a page of another network, which Chrome 130 to 141 want."""
    request_headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
        "Access-Control-Request-Private-Network": "true",
    }
    response = request(endpoint, "OPTIONS", "/api/sessions", request_headers, deadline)
    if not 200 <= response.status < 300 or not response.allows(origin):
        raise _origin_refused(f"the preflight of {origin} was answered with {response.status}")
    return response.headers.get("access-control-allow-private-network") == "true"


def foreign_origin(endpoint: Endpoint, deadline: Deadline) -> None:
    """A page of an origin that is not listed may do nothing, though it has the token."""
    # Deleting a kernel that cannot exist changes nothing where it is let through.
    path = f"/api/kernels/{secrets.token_hex(16)}"
    response = request(endpoint, "DELETE", path, {"Origin": FOREIGN_ORIGIN}, deadline)
    if response.status != 403 or response.headers.get("access-control-allow-origin"):
        raise HealthError(
            "origin-refused",
            "Jupyter serves pages of any origin",
            f"a request of {FOREIGN_ORIGIN} was answered with {response.status}, not 403",
            "`remote-runtime logs PROFILE --server` shows what the server loaded",
        )


def bridge(endpoint: Endpoint, origin: str, deadline: Deadline) -> None:
    """The bridge answers a page of ``origin`` on its WebSocket."""
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect
    from websockets.typing import Origin

    uri = f"ws://localhost:{endpoint.port}/http_over_websocket/diagnose?min_version=0.0.7"
    limit_s = max(0.1, deadline.remaining_s())
    why = ""
    cause: Exception | None = None
    try:
        connection = endpoint.open(limit_s)
        with connect(
            uri,
            sock=connection,
            origin=Origin(origin),
            additional_headers=OWN_REQUEST_HEADERS,
            open_timeout=limit_s,
            close_timeout=2,
            proxy=None,
            max_size=MAX_RESPONSE_BYTES,
        ) as page:
            page.send("knock")
            response = json.loads(page.recv(timeout=limit_s))
            if isinstance(response, dict) and response.get("message_id") == "knock":
                return
    except TimeoutError as error:
        what, why = "The bridge does not answer on its WebSocket", f"nothing came within {limit_s:.0f} s"
        raise HealthError("not-answering", what, why) from error
    except (WebSocketException, OSError, ValueError, RecursionError) as error:
        why, cause = clean_line(str(error), 200), error
    raise MachineError(
        "bridge-not-loaded",
        "The bridge does not answer on its WebSocket",
        why or "its answer is not a bridge's",
        "`remote-runtime logs PROFILE --server` shows why it was not loaded",
    ) from cause


def _origin_refused(why: str) -> HealthError:
    return HealthError("origin-refused", "Jupyter refuses pages of Colab", why, "Check `colab.origins` in the profile")
