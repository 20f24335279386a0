"""Which kernels a server offers, as it says itself: its own interpreter's, and those that were installed beside it."""

from __future__ import annotations

from typing import Any

from . import proof

WITHIN_S = 5.0
MOST = 100


def kernelspecs(place: int | str, token: str) -> list[dict[str, str]]:
    """The default first, then by name; empty when the server does not say. Sends the token: only to a proven server,
    or one that is known to be the user's.

    Source: Jupyter Server's REST API, ``GET /api/kernelspecs``."""
    answer = proof.ask(place, token, "/api/kernelspecs", WITHIN_S)
    found = answer.get("kernelspecs")
    specs = found if isinstance(found, dict) else {}
    first = answer.get("default")
    return [read(name, specs[name]) for name in sorted(specs, key=lambda name: (name != first, name))[:MOST]]


def read(name: str, described: Any) -> dict[str, str]:
    spec = described.get("spec") if isinstance(described, dict) else None
    told = spec if isinstance(spec, dict) else {}
    return {
        "name": name,
        "display_name": str(told.get("display_name") or name),
        "language": str(told.get("language") or ""),
    }
