"""What `bridge enable`, `disable` and `status` found or did, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.sanitize import clean_line
from . import LONGEST, answer, say, table

RECIPE = "jupyter server --ServerApp.allow_credentials=True --ServerApp.port=8899 --ServerApp.port_retries=0"


def enabled(seen: Mapping[str, Any], *, quiet: bool) -> None:
    """What was put there, and how a server is started with it."""
    how = "is enabled" if seen["changed"] else "was enabled already"
    answer(_lines(f"The bridge {seen['version']} {how} for {seen['python']}", seen["package"], *seen["config_files"]))
    if not quiet:
        say(f"Servers load it when they start:\n{RECIPE}")


def disabled(seen: Mapping[str, Any], *, quiet: bool) -> None:
    """What was taken away."""
    if not seen["changed"]:
        answer(_lines(f"The bridge was not there: {seen['python']}"))
        return
    answer(_lines(f"The bridge is taken away from {seen['python']}", seen["package"], *seen["config_files"]))
    if not quiet:
        say("Servers that run now keep it until they end.")


def status(seen: Mapping[str, Any], *, quiet: bool) -> None:
    """What is in the environment, and what its servers say."""
    there = f"{seen['installed']}, {'enabled' if seen['enabled'] else 'not enabled'}" if seen["installed"] else "no"
    facts = [("Python", seen["python"]), ("bridge", there), ("Jupyter Server", seen["jupyter_server"] or "no")]
    facts += [("Notebook", seen["notebook"])] if seen["notebook"] else []
    answer("\n".join(f"{label:<16}{clean_line(str(value), LONGEST)}" for label, value in facts))
    if not seen["servers"]:
        answer("No server of this environment runs.")
        return
    rows = [
        (each["url"], str(each["pid"] or ""), _loaded(each), ", ".join(each["origins"]) or each["why"])
        for each in seen["servers"]
    ]
    answer("\n" + table(("SERVER", "PID", "BRIDGE", "FOR, OR WHY NOT"), rows))
    if not seen["installed"] and not quiet:
        say("`remote-runtime bridge enable` puts it there.")


def _loaded(server: Mapping[str, Any]) -> str:
    if server["loaded"] is None:
        return "not known"
    return str(server["bridge"] or "yes") if server["loaded"] else "no"


def _lines(head: str, *below: str) -> str:
    return "\n".join([clean_line(head, LONGEST), *(f"  {clean_line(each, LONGEST)}" for each in below)])
