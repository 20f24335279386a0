"""`status` as a table. Columns that do not fit the terminal are written below it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...core.fast_dataclass import fast_dataclass
from ...core.sanitize import clean, clean_line
from . import format
from .console import MAX_CHARS, align, fit_columns, fold, table, width, wrap
from .theme import STATE_STYLES, paint

# Fit for dark and for light terminals, which yellow is not.
NO_RUNTIME = "No runtime is up. `remote-runtime up PROFILE` brings one up; `remote-runtime profiles list` names them."
SILENT_BROWSER_NOTE = (
    "a browser came and said nothing, and Colab's page has not been heard yet: allow "
    '"Access other apps and services on this device" when the browser asks, or in its site settings for Colab'
)


HTTPS_NOTE = "a browser used https:// on the local port: open http://, not https://"
OPEN_FILES_NOTE = (
    "{} connections were closed because the background process can open too few files: raise the limit "
    "(`ulimit -n 1024`), then `down` and `up`"
)
IDLE_CONNECTIONS_NOTE = "{} connections to the local port were closed: too many were open that sent nothing"


@fast_dataclass(frozen=True)
class Column:
    """``rank``: the column with the highest is removed first when space is short, 0 never. ``label``: the format of the
    value below the table."""

    head: str
    cell: Callable[[Mapping[str, Any]], str]
    rank: int = 0
    label: str = "{}"


def _if_up(runtime: Mapping[str, Any], text: str) -> str:
    """Empty for a runtime that is down, whose last values are outdated."""
    return "" if runtime["state"] == "down" else text


def _if_seen(runtime: Mapping[str, Any], text: str) -> str:
    """Empty unless the machine is connected."""
    return text if runtime["state"] == "ready" else ""


COLUMNS = (
    Column("NAME", lambda runtime: str(runtime["name"])),
    Column("STATE", lambda runtime: str(runtime["state"])),
    Column("URL", lambda runtime: _if_up(runtime, format.url(runtime))),
    Column("MACHINE", format.machine_and_gpus, 3, "{}"),
    Column("VM ON", lambda runtime: _if_seen(runtime, format.on_for(runtime)), 4, "VM on for {}"),
    Column("GPU", lambda runtime: _if_seen(runtime, format.gpu(runtime)), 1, "GPU {}"),
    Column("MEMORY", lambda runtime: _if_seen(runtime, format.memory(runtime)), 5, "memory {}"),
    Column("KERNELS", lambda runtime: _if_seen(runtime, format.kernels(runtime)), 0),
    Column("RTT", lambda runtime: _if_seen(runtime, format.round_trip(runtime)), 1, "round trip {}"),
    Column("RECONNECTS", lambda runtime: _if_up(runtime, str(runtime["reconnects"])), 6, "{} reconnects"),
    Column("UP", lambda runtime: _if_up(runtime, format.duration_since(runtime["since"])), 2, "up {}"),
)


def status_table(runtimes: Sequence[Mapping[str, Any]], max_columns: int | None = None) -> str:
    """``max_columns``: 0 for no limit, None for the terminal's width."""
    max_columns = width() if max_columns is None else max_columns
    if not runtimes:
        return _wrap(NO_RUNTIME, max_columns)
    rows = [[clean_line(column.cell(runtime), 200) for column in COLUMNS] for runtime in runtimes]
    cells = [[column.head for column in COLUMNS], *rows]
    shown = fit_columns(cells, max_columns, rank=lambda index: COLUMNS[index].rank)
    head, *lines = align(cells, shown, _coloured)
    lines.insert(0, paint(head, "heading", sys.stdout))
    notes = [note for row, runtime in zip(rows, runtimes, strict=True) for note in _notes(runtime, row, shown)]
    return "\n".join([*lines, *([""] if notes else []), *(_wrap(note, max_columns) for note in notes)])


def _coloured(cell: str) -> str:
    style = STATE_STYLES.get(cell.strip())
    return paint(cell, style, sys.stdout) if style else cell


def _notes(runtime: Mapping[str, Any], row: Sequence[str], shown: Sequence[int]) -> list[str]:
    hidden = [
        column.label.format(row[index])
        for index, column in enumerate(COLUMNS)
        if index not in shown and row[index] not in ("", "0")
    ]
    notes = [" · ".join(hidden)] if hidden else []
    texts = (
        format.value_sources(runtime),
        format.extra_ports(runtime),
        format.idle_failed(runtime),
        format.last_seen(runtime),
        runtime["why"],
    )
    notes += filter(None, texts)
    notes += [SILENT_BROWSER_NOTE] if browser_is_silent(runtime) else []
    notes += _refused_connections(runtime)
    outage = runtime["last_outage"] or {}
    notes += (
        [f"after an outage {format.duration_since(outage['at'])} ago: {outage['restarted']}"]
        if outage.get("restarted")
        else []
    )
    return [f"{clean_line(runtime['name'], 200)}: {clean(note, MAX_CHARS)}" for note in notes]


def _refused_connections(runtime: Mapping[str, Any]) -> list[str]:
    """Which connections the local port refused, and why."""
    connections = runtime["connections"] if runtime["state"] != "down" else {}
    notes = [HTTPS_NOTE] if connections.get("tls") else []
    notes += [OPEN_FILES_NOTE.format(connections["without_a_file"])] if connections.get("without_a_file") else []
    return notes + ([IDLE_CONNECTIONS_NOTE.format(connections["sent_away"])] if connections.get("sent_away") else [])


def browser_is_silent(runtime: Mapping[str, Any]) -> bool:
    """Whether most connections sent nothing and no page of Colab has arrived. Browsers that work open an unused
    connection now and then, too."""
    connections = runtime["connections"]
    is_silent = connections["empty"] + connections["waiting"] > connections["carried"]
    return bool(runtime["state"] == "ready" and is_silent and runtime["page_requests"] == 0)


def _wrap(text: str, max_columns: int) -> str:
    """Does not break words, commands and paths."""
    if not max_columns:
        return text
    return "\n".join(part for line in text.splitlines() for part in wrap(line, max_columns, "  "))


def machine_table(found: Sequence[Mapping[str, Any]]) -> str:
    """A table of our servers on the machines, and below it the machines that could not be reached."""
    rows = [
        (machine["profile"], server["key"], format.duration_since(server["since"]), server["runtime"] or "none here")
        for machine in found
        for server in machine["servers"]
    ]
    lines = [table(("MACHINE OF", "SERVER", "UP", "RUNTIME"), rows, max_columns=width())] if rows else []
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
