"""What a server that the user runs lacks for Colab: which of the two transports work, and which settings are missing.

Directly: Colab's page asks the server's own API with CORS and credentials. Through the bridge: one WebSocket carries it
all. One of them is enough.
"""

from __future__ import annotations

import shlex
from dataclasses import replace

from ...core.deadline import Deadline
from ...core.errors import HealthError, MachineError
from ...core.frozen import dataclass
from ...core.model import SHORTEST_TOKEN, UNKNOWN, Server
from . import checks
from .endpoint import Door, ask

NO_CREDENTIALS = "its answers carry no Access-Control-Allow-Credentials"


@dataclass(frozen=True)
class Lack:
    """``stops``: nothing goes directly without it. ``setting``: what mends it in Jupyter's configuration."""

    what: str
    setting: str
    stops: bool = True

    def __str__(self) -> str:
        return f"{self.what}: {self.setting}" if self.setting else self.what


def check(door: Door, server: Server, deadline: Deadline) -> tuple[str, ...]:
    """What it could do better, in words. Raises ``HealthError`` ``token-refused``,
    ``token-not-required`` or ``not-answering``, and
    ``MachineError`` ``attach-unfit`` when no transport works."""
    found = lacks(door, deadline)
    bridged = _is_bridged(door, deadline)
    if not bridged and any(lack.stops for lack in found):
        raise MachineError(
            "attach-unfit",
            f"Your server on port {server.port} is not set up for Colab",
            "\n".join(["it has no bridge", *map(str, found)]),
            f"{add_the_bridge(server)}; or make these settings and restart it",
        )
    told = [f"Your server on port {server.port}: {lack}" for lack in found]
    if len(server.token.reveal()) < SHORTEST_TOKEN:
        told.append(
            f"Your server on port {server.port} has a token of fewer than {SHORTEST_TOKEN} characters, which can be "
            "guessed, so its bridge does not prove it: set a longer token and restart it"
        )
    elif not bridged:
        told.append(
            f"Your server on port {server.port} has no bridge, so it cannot prove who it is and an older page of Colab "
            f"cannot use it: {add_the_bridge(server)}"
        )
    return tuple(told)


def lacks(door: Door, deadline: Deadline) -> list[Lack]:
    """What its settings lack for Colab's direct way. Raises ``HealthError`` ``token-refused`` or ``not-answering``."""
    checks.needs_the_token(door, deadline)
    of_each = [_of_origin(door, origin, deadline) for origin in door.origins]
    found = list(dict.fromkeys(lack for lacks in of_each for lack in lacks))
    if not all(any(lack.stops for lack in lacks) for lacks in of_each):
        # Colab has several addresses: a server that serves one of them can be used.
        found = [replace(lack, stops=False) for lack in found]
    try:
        checks.foreign_origin(door, deadline)
    except HealthError as error:
        if error.code != "origin-refused":
            raise
        found.append(
            Lack("any page of the web that learns its token may use it; the bridge refuses them", "", stops=False)
        )
    return found


def add_the_bridge(server: Server) -> str:
    """The command, for a person on the machine."""
    python = "PATH" if server.interpreter == UNKNOWN else shlex.quote(server.interpreter)
    return f"on the machine: `remote-runtime bridge enable --python {python}`, then restart it"


def _of_origin(door: Door, origin: str, deadline: Deadline) -> list[Lack]:
    answer = ask(door, "GET", "/api/kernelspecs", {"Origin": origin}, deadline)
    is_refused = answer.status in (401, 403)
    if is_refused and checks.refuses_token(door, deadline):
        why = f"GET /api/kernelspecs answered {answer.status}"
        raise HealthError("token-refused", "Your server refuses the token", why, "Check jupyter.attach.token_file")
    if answer.status != 200 and not is_refused:
        raise HealthError("not-answering", "Jupyter does not list its kernels", f"it answered {answer.status}")
    allow = f"c.ServerApp.allow_origin = '{origin}'"
    if len(door.origins) > 1:
        allow = f"c.ServerApp.allow_origin_pat = {_pattern(door.origins)!r}, without allow_origin"
    if not answer.allows(origin):
        anyone = answer.headers.get("access-control-allow-origin") == "*"
        what = (
            "it allows every origin, which browsers refuse with credentials"
            if anyone
            else f"it does not allow {origin}"
        )
        return [Lack(what, allow)]
    found = []
    if answer.headers.get("access-control-allow-credentials") != "true":
        found.append(Lack(NO_CREDENTIALS, "c.ServerApp.allow_credentials = True"))
    try:
        checks.preflight(door, origin, deadline)
    except HealthError as error:
        if error.code != "origin-refused":
            raise
        found.append(Lack(error.why, allow))
    # A session of nothing cannot be made: 400 after the server has let the page's request in.
    posted = ask(door, "POST", "/api/sessions", {"Origin": origin}, deadline)
    if posted.status in (401, 403):
        found.append(
            Lack(f"it refuses what changes something ({posted.status}, its XSRF check)", "only the bridge passes that")
        )
    return found


def _pattern(origins: tuple[str, ...]) -> str:
    """Jupyter matches it at the beginning of an origin only, so the end is in it."""
    return "(?:{})$".format("|".join(origin.replace(".", "[.]") for origin in origins))


def _is_bridged(door: Door, deadline: Deadline) -> bool:
    """Ours only: upstream's works through no forwarded port but one of the same number."""
    return door.is_proved and any(_is_bridged_for(door, origin, deadline) for origin in door.origins)


def _is_bridged_for(door: Door, origin: str, deadline: Deadline) -> bool:
    try:
        checks.token_and_cors(door, origin, deadline)
        checks.bridge(door, origin, deadline)
    except (HealthError, MachineError) as error:
        if error.code not in ("origin-refused", "bridge-not-loaded"):
            raise
        return False
    return True
