"""Checks a server that the user runs: which transports work for Colab, and which settings are missing.

Direct: Colab's page requests the server's own API with CORS and credentials. Bridge: one WebSocket carries all
requests. One of them is enough.
"""

from __future__ import annotations

import shlex
from dataclasses import replace

from ...core.deadline import Deadline
from ...core.errors import HealthError, MachineError
from ...core.fast_dataclass import fast_dataclass
from ...core.model import MIN_TOKEN_CHARS, UNKNOWN_INTERPRETER, Server
from . import checks
from .endpoint import Endpoint, request

NO_CREDENTIALS = "its responses have no Access-Control-Allow-Credentials header"


@fast_dataclass(frozen=True)
class MissingSetting:
    """``setting``: the line for Jupyter's configuration. ``is_required``: the direct transport fails without it."""

    what: str
    setting: str
    is_required: bool = True

    def __str__(self) -> str:
        return f"{self.what}: {self.setting}" if self.setting else self.what


def check(endpoint: Endpoint, server: Server, deadline: Deadline) -> tuple[str, ...]:
    """Notes on what could be better. Raises ``HealthError`` ``token-refused``, ``token-not-required`` or
    ``not-answering``, and ``MachineError`` ``attach-unfit`` if no transport works."""
    missing = missing_settings(endpoint, deadline)
    bridged = _is_bridged(endpoint, deadline)
    if not bridged and any(lack.is_required for lack in missing):
        raise MachineError(
            "attach-unfit",
            f"Your server on port {server.port} is not set up for Colab",
            "\n".join(["it has no bridge", *map(str, missing)]),
            f"{add_the_bridge(server)}; or make these settings and restart it",
        )
    notes = [f"Your server on port {server.port}: {lack}" for lack in missing]
    if len(server.token.reveal()) < MIN_TOKEN_CHARS:
        notes.append(
            f"Your server on port {server.port} has a token of fewer than {MIN_TOKEN_CHARS} characters, which can be "
            "guessed. Set a longer token and restart it"
        )
    elif not bridged:
        notes.append(
            f"Your server on port {server.port} has no bridge: it can't authenticate itself, an outage resets open "
            "connections, and older Colab pages "
            f"can't use it. {add_the_bridge(server)}"
        )
    return tuple(notes)


def missing_settings(endpoint: Endpoint, deadline: Deadline) -> list[MissingSetting]:
    """What the direct transport lacks. Raises ``HealthError`` ``token-refused`` or ``not-answering``."""
    checks.needs_the_token(endpoint, deadline)
    of_each = [_of_origin(endpoint, origin, deadline) for origin in endpoint.origins]
    missing = list(dict.fromkeys(lack for of_origin in of_each for lack in of_origin))
    if not all(any(lack.is_required for lack in lacks) for lacks in of_each):
        # Colab has several origins: one is enough.
        missing = [replace(lack, is_required=False) for lack in missing]
    try:
        checks.foreign_origin(endpoint, deadline)
    except HealthError as error:
        if error.code != "origin-refused":
            raise
        missing.append(
            MissingSetting(
                "any web page that learns its token can use it; the bridge rejects other origins", "", is_required=False
            )
        )
    return missing


def add_the_bridge(server: Server) -> str:
    """The command to run on the machine, for people."""
    python = "PATH" if server.interpreter == UNKNOWN_INTERPRETER else shlex.quote(server.interpreter)
    return f"On the machine: `remote-runtime bridge enable --python {python}`, then restart it"


def _of_origin(endpoint: Endpoint, origin: str, deadline: Deadline) -> list[MissingSetting]:
    response = request(endpoint, "GET", "/api/kernelspecs", {"Origin": origin}, deadline)
    is_refused = response.status in (401, 403)
    if is_refused and checks.refuses_token(endpoint, deadline):
        why = f"GET /api/kernelspecs: status {response.status}"
        raise HealthError("token-refused", "Your server rejects the token", why, "Check jupyter.attach.token_file")
    if response.status != 200 and not is_refused:
        raise HealthError("not-answering", "Jupyter does not list its kernels", f"status {response.status}")
    allow = f"c.ServerApp.allow_origin = '{origin}'"
    if len(endpoint.origins) > 1:
        allow = f"c.ServerApp.allow_origin_pat = {_pattern(endpoint.origins)!r}, without allow_origin"
    if not response.allows(origin):
        anyone = response.headers.get("access-control-allow-origin") == "*"
        what = (
            "it allows every origin, which browsers reject with credentials"
            if anyone
            else f"it does not allow {origin}"
        )
        return [MissingSetting(what, allow)]
    missing = []
    if response.headers.get("access-control-allow-credentials") != "true":
        missing.append(MissingSetting(NO_CREDENTIALS, "c.ServerApp.allow_credentials = True"))
    try:
        checks.preflight(endpoint, origin, deadline)
    except HealthError as error:
        if error.code != "origin-refused":
            raise
        missing.append(MissingSetting(error.why, allow))
    # An empty request for a session gets 400 if the page's request was let in.
    posted = request(endpoint, "POST", "/api/sessions", {"Origin": origin}, deadline)
    if posted.status in (401, 403):
        missing.append(
            MissingSetting(
                f"it rejects requests that change something ({posted.status}, its XSRF check)",
                "only the bridge passes it",
            )
        )
    return missing


def _pattern(origins: tuple[str, ...]) -> str:
    """With ``$``: Jupyter matches the pattern only at the beginning of an origin."""
    return "(?:{})$".format("|".join(origin.replace(".", "[.]") for origin in origins))


def _is_bridged(endpoint: Endpoint, deadline: Deadline) -> bool:
    """remote-runtime's bridge only: upstream's works only if both ports have the same number."""
    return endpoint.can_prove_identity and any(
        _is_bridged_for(endpoint, origin, deadline) for origin in endpoint.origins
    )


def _is_bridged_for(endpoint: Endpoint, origin: str, deadline: Deadline) -> bool:
    try:
        checks.token_and_cors(endpoint, origin, deadline)
        checks.bridge(endpoint, origin, deadline)
    except (HealthError, MachineError) as error:
        if error.code not in ("origin-refused", "bridge-not-loaded"):
            raise
        return False
    return True
