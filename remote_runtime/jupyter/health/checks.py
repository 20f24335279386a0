"""The single checks of what Colab's page needs of the server. Each raises ``HealthError`` or ``MachineError``."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace

from ...core.deadline import Deadline
from ...core.errors import HealthError, MachineError
from ...core.model import Secret
from ...core.sanitize import clean_line
from .endpoint import Endpoint, open_websocket, request

FOREIGN_ORIGIN = "https://not-colab.example"


def token_and_cors(endpoint: Endpoint, origin: str, deadline: Deadline) -> None:
    """The server lists its kernelspecs for the token, and a page of ``origin`` may read that."""
    response = request(endpoint, "GET", "/api/kernelspecs", {"Origin": origin}, deadline)
    if response.status in (401, 403):
        if refuses_token(endpoint, deadline):
            raise HealthError(
                "token-refused", "Jupyter rejects the token", f"GET /api/kernelspecs: status {response.status}"
            )
        raise _origin_refused(f"a request from {origin}: status {response.status}")
    if response.status != 200:
        raise HealthError("not-answering", "Jupyter does not list its kernels", f"status {response.status}")
    if not response.allows(origin):
        raise _origin_refused(f"the response to {origin} has no Access-Control-Allow-Origin header for it")
    document = response.document()
    if not isinstance(document, dict) or not document.get("kernelspecs"):
        raise MachineError(
            "jupyter-missing",
            "Jupyter on the machine has no kernel",
            "its list of kernelspecs is empty",
            "Install ipykernel in that environment, or set another Python: `jupyter.python`",
        )


def refuses_token(endpoint: Endpoint, deadline: Deadline) -> bool:
    """Whether a request without an origin is refused too: then the token is wrong, not the origin."""
    return request(endpoint, "GET", "/api/kernelspecs", {}, deadline).status in (401, 403)


def needs_the_token(endpoint: Endpoint, deadline: Deadline) -> None:
    """A request without a token is refused, whatever the server loaded for authentication."""
    response = request(replace(endpoint, token=Secret("")), "GET", "/api/kernels", {}, deadline)
    if response.status not in (401, 403):
        raise HealthError(
            "token-not-required",
            "Jupyter does not require the token",
            f"GET /api/kernels without a token: expected status 403, got {response.status}",
            "See what the server loaded: `remote-runtime logs PROFILE --server`",
        )


def may_start_kernels(endpoint: Endpoint, origin: str, deadline: Deadline) -> None:
    """The token also allows requests that change something. An empty request for a session gets 400 if it was let in,
    and changes nothing."""
    response = request(endpoint, "POST", "/api/sessions", {"Origin": origin}, deadline)
    if response.status in (401, 403):
        raise HealthError(
            "token-refused",
            "Jupyter does not let the token start kernels",
            f"POST /api/sessions: status {response.status}, but the token can read",
            "See what the server loaded: `remote-runtime logs PROFILE --server`",
        )


def preflight(endpoint: Endpoint, origin: str, deadline: Deadline) -> bool:
    """The CORS preflight of a page of ``origin`` succeeds. Returns whether the server also allows private network
    access, which Chrome 130 to 141 ask for."""
    request_headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
        "Access-Control-Request-Private-Network": "true",
    }
    response = request(endpoint, "OPTIONS", "/api/sessions", request_headers, deadline)
    if not 200 <= response.status < 300 or not response.allows(origin):
        raise _origin_refused(f"the CORS preflight from {origin}: status {response.status}")
    return response.headers.get("access-control-allow-private-network") == "true"


def foreign_origin(endpoint: Endpoint, deadline: Deadline) -> None:
    """A page of an origin that is not listed may do nothing, even with the token."""
    # To delete a kernel that does not exist changes nothing even if it is allowed.
    path = f"/api/kernels/{secrets.token_hex(16)}"
    response = request(endpoint, "DELETE", path, {"Origin": FOREIGN_ORIGIN}, deadline)
    if response.status != 403 or response.headers.get("access-control-allow-origin"):
        raise HealthError(
            "origin-refused",
            "Jupyter accepts pages of any origin",
            f"a request from {FOREIGN_ORIGIN}: expected status 403, got {response.status}",
            "See what the server loaded: `remote-runtime logs PROFILE --server`",
        )


def bridge(endpoint: Endpoint, origin: str, deadline: Deadline) -> None:
    """The bridge answers a page of ``origin`` on its WebSocket."""
    from websockets.exceptions import WebSocketException

    limit_s = max(0.1, deadline.remaining_s())
    why = ""
    cause: Exception | None = None
    try:
        with open_websocket(endpoint, "/http_over_websocket/diagnose?min_version=0.0.7", origin, limit_s) as page:
            page.send("knock")
            response = json.loads(page.recv(timeout=limit_s))
            if isinstance(response, dict) and response.get("message_id") == "knock":
                return
    except TimeoutError as error:
        what, why = "The bridge does not respond on its WebSocket", f"no response in {limit_s:.0f} s"
        raise HealthError("not-answering", what, why) from error
    except (WebSocketException, OSError, ValueError, RecursionError) as error:
        why, cause = clean_line(str(error), 200), error
    raise MachineError(
        "bridge-not-loaded",
        "The bridge does not respond on its WebSocket",
        why or "its response is invalid",
        "See why it was not loaded: `remote-runtime logs PROFILE --server`",
    ) from cause


def _origin_refused(why: str) -> HealthError:
    return HealthError("origin-refused", "Jupyter rejects Colab's pages", why, "Check `colab.origins` in the profile")
