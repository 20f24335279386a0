"""Prints the results of `bridge enable`, `disable` and `status`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.sanitize import clean_line
from .console import MAX_CHARS, answer, say, table

RECIPE = "jupyter server --ServerApp.allow_credentials=True --ServerApp.port=8899 --ServerApp.port_retries=0"


def enabled(result: Mapping[str, Any], *, quiet: bool) -> None:
    """The files that were installed, and how to start a server with the bridge."""
    how = "is enabled" if result["changed"] else "was enabled already"
    answer(
        _indented(
            f"The bridge {result['version']} {how} for {result['python']}", result["package"], *result["config_files"]
        )
    )
    if not quiet:
        say(f"Servers load it when they start:\n{RECIPE}")


def disabled(result: Mapping[str, Any], *, quiet: bool) -> None:
    """The files that were removed."""
    if not result["changed"]:
        answer(_indented(f"The bridge was not there: {result['python']}"))
        return
    answer(_indented(f"Removed the bridge from {result['python']}", result["package"], *result["config_files"]))
    if not quiet:
        say("Servers that run now keep it until they end.")


def status(result: Mapping[str, Any], *, quiet: bool) -> None:
    """The bridge in the environment, and in its running servers."""
    there = (
        f"{result['installed']}, {'enabled' if result['enabled'] else 'not enabled'}" if result["installed"] else "no"
    )
    facts = [("Python", result["python"]), ("bridge", there), ("Jupyter Server", result["jupyter_server"] or "no")]
    facts += [("Notebook", result["notebook"])] if result["notebook"] else []
    answer("\n".join(f"{label:<16}{clean_line(str(value), MAX_CHARS)}" for label, value in facts))
    if not result["servers"]:
        answer("No server of this environment runs.")
        return
    rows = [
        (each["url"], str(each["pid"] or ""), _loaded(each), ", ".join(each["origins"]) or each["why"])
        for each in result["servers"]
    ]
    answer("\n" + table(("SERVER", "PID", "BRIDGE", "FOR, OR WHY NOT"), rows))
    if not result["installed"] and not quiet:
        say("`remote-runtime bridge enable` puts it there.")


def _loaded(server: Mapping[str, Any]) -> str:
    if server["loaded"] is None:
        return "not known"
    return str(server["bridge"] or "yes") if server["loaded"] else "no"


def _indented(head: str, *below: str) -> str:
    return "\n".join([clean_line(head, MAX_CHARS), *(f"  {clean_line(each, MAX_CHARS)}" for each in below)])
