"""`status --all-machines`: which servers of ours run where, and what to do about those that nobody here knows."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ...core.sanitize import clean_line
from . import MAX_CHARS, fold, format, width
from . import table as columns

ORPHAN = "none here"


def machine_table(found: Sequence[Mapping[str, Any]]) -> str:
    """A table of the servers, and the machines that could not be entered below it."""
    rows = [
        (machine["profile"], server["key"], format.duration_since(server["since"]), server["runtime"] or ORPHAN)
        for machine in found
        for server in machine["servers"]
    ]
    lines = [columns(("MACHINE OF", "SERVER", "UP", "RUNTIME"), rows, max_columns=width())] if rows else []
    for machine in found:
        if machine["why"]:
            lines += fold(f"{machine['profile']}: not entered: {clean_line(machine['why'], MAX_CHARS)}")
    for machine in found:
        if any(server["runtime"] is None for server in machine["servers"]):
            ends = f"`remote-runtime down {shlex.quote(machine['profile'])} --orphans`"
            lines += fold(f"{ends} ends what no runtime here knows")
    if not found:
        return "No machine was looked at: no profile names one."
    return "\n".join(lines) or "No server of ours runs on the profiles' machines."
