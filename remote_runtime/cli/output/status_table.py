"""`status` as a table. Columns that the terminal has no room for are written below it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...core.fast_dataclass import fast_dataclass
from ...core.sanitize import clean, clean_line
from . import format
from .console import MAX_CHARS, align, fit_columns, fold, has_unicode, table, width, wrap
from .theme import STATE_STYLES, paint

NO_RUNTIME = (
    "No runtimes running. Start one with `remote-runtime up PROFILE` (`remote-runtime profiles list` lists profiles)."
)
UNBROKEN = "\u00a0"  # a space at which no line is wrapped
SILENT_BROWSER_NOTE = (
    "a browser connected and sent nothing, and Colab has not connected yet: allow "
    '"Access other apps and services on this device" when the browser asks, or in its site settings for Colab'
)


HTTPS_NOTE = "a browser used https:// on the local port: open http://, not https://"
OPEN_FILES_NOTE = (
    "{} connections were closed because the background process reached its limit of open files: raise it "
    "(`ulimit -n 1024`), then run `down` and `up`"
)
IDLE_CONNECTIONS_NOTE = "{} connections to the local port were closed: too many were open without sending a request"


@fast_dataclass(frozen=True)
class Column:
    """``rank``: the column with the highest is removed first when space is short, 0 never. ``label``: the format of the
    value below the table. ``measured``: while the machine is not connected, its value is from before."""

    head: str
    cell: Callable[[Mapping[str, Any]], str]
    rank: int = 0
    label: str = "{}"
    measured: bool = False


def _if_up(runtime: Mapping[str, Any], text: str) -> str:
    """Empty for a runtime that is down, whose last values are outdated."""
    return "" if runtime["state"] == "down" else text


def _if_measured(runtime: Mapping[str, Any], text: str) -> str:
    """Empty if it is not known of when the value is."""
    return text if runtime["state"] == "ready" or is_stale(runtime) else ""


def is_stale(runtime: Mapping[str, Any]) -> bool:
    """Whether the measured values are from before, and it is known of when."""
    return bool(runtime["state"] not in ("ready", "starting", "down") and runtime.get("as_of"))


def _state(runtime: Mapping[str, Any]) -> str:
    return f"{'●' if has_unicode(sys.stdout) else 'o'} {runtime['state']}"


def _reconnects(runtime: Mapping[str, Any]) -> str:
    """With the one that is being tried."""
    if runtime["state"] in ("reconnecting", "unreachable"):
        return f"{runtime['reconnects'] + 1} (trying)"
    return _if_up(runtime, str(runtime["reconnects"]))


COLUMNS = (
    Column("NAME", lambda runtime: str(runtime["name"])),
    Column("STATE", _state),
    Column("URL", lambda runtime: _if_up(runtime, format.url(runtime))),
    Column("MACHINE", format.machine_and_gpus, 3),
    Column("VM UPTIME", lambda runtime: _if_measured(runtime, format.on_for(runtime)), 4, "VM uptime {}", True),
    Column("GPU", lambda runtime: _if_measured(runtime, format.gpu(runtime)), 1, "GPU {}", True),
    Column("MEMORY", lambda runtime: _if_measured(runtime, format.memory(runtime)), 5, "memory {}", True),
    Column("KERNELS", lambda runtime: _if_measured(runtime, format.kernels(runtime)), 0, measured=True),
    Column("LATENCY", lambda runtime: _if_measured(runtime, format.round_trip(runtime)), 1, "latency {}", True),
    Column("COST", lambda runtime: _if_up(runtime, format.cost(runtime)), 7, "cost {}"),
    Column("RECONNECTS", _reconnects, 6, "{} reconnects"),
    Column("UPTIME", lambda runtime: _if_up(runtime, format.duration_since(runtime["since"])), 2, "uptime {}"),
)


def status_table(runtimes: Sequence[Mapping[str, Any]], max_columns: int | None = None) -> str:
    """``max_columns``: 0 for no limit, None for the terminal's width."""
    max_columns = width() if max_columns is None else max_columns
    if not runtimes:
        return _wrap(NO_RUNTIME, max_columns)
    rows = [[clean_line(column.cell(runtime), 200) for column in COLUMNS] for runtime in runtimes]
    cells = [[column.head for column in COLUMNS], *rows]
    shown = fit_columns(cells, max_columns, rank=lambda index: COLUMNS[index].rank)

    def style(row: int, column: int, text: str) -> str:
        return _painted(runtimes[row - 1], COLUMNS[column], text) if row else paint(text, "heading", sys.stdout)

    lines = align(cells, shown, style)
    begins = [f"{clean_line(runtime['name'], 200)}: " if len(runtimes) > 1 else "  " for runtime in runtimes]
    notes = [
        begin + note
        for begin, row, runtime in zip(begins, rows, runtimes, strict=True)
        for note in _notes(runtime, row, shown)
    ]
    return "\n".join([*lines, *([""] if notes else []), *(_wrap(note, max_columns) for note in notes)])


def _painted(runtime: Mapping[str, Any], column: Column, text: str) -> str:
    if column.head == "STATE":
        style = STATE_STYLES.get(runtime["state"])
        return paint(text, style, sys.stdout) if style else text
    return paint(text, "detail", sys.stdout) if column.measured and is_stale(runtime) else text


def _notes(runtime: Mapping[str, Any], row: Sequence[str], shown: Sequence[int]) -> list[str]:
    hidden = [
        column.label.format(_without_name(runtime, row[index])).replace(" ", UNBROKEN)
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
        format.waiting_connections(runtime),
        format.reset_connections(runtime),
        format.recorded_outputs(runtime),
        format.recording_paused(runtime),
    )
    notes += filter(None, texts)
    notes += [SILENT_BROWSER_NOTE] if browser_is_silent(runtime) else []
    notes += _refused_connections(runtime)
    outage = runtime["last_outage"] or {}
    notes += (
        [f"outage {format.duration_since(outage['at'])} ago: {outage['restarted']}"] if outage.get("restarted") else []
    )
    return [clean(note, MAX_CHARS) for note in notes]


def _without_name(runtime: Mapping[str, Any], text: str) -> str:
    """A machine that is named as its runtime is described by its zone alone."""
    begin = f"{runtime['name']} ("
    return text.removeprefix(begin).replace(")", "", 1) if text.startswith(begin) else text


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
    """Does not break words, commands, paths and figures."""
    indent = " " * max(2, len(text) - len(text.lstrip(" ")))
    lines = [
        part for line in text.splitlines() for part in (wrap(line, max_columns, indent) if max_columns else [line])
    ]
    return "\n".join(lines).replace(UNBROKEN, " ")


def machine_table(found: Sequence[Mapping[str, Any]]) -> str:
    """A table of remote-runtime's servers on the machines, and below it the machines that could not be reached."""
    rows = [
        (machine["profile"], server["key"], format.duration_since(server["since"]), server["runtime"] or "none")
        for machine in found
        for server in machine["servers"]
    ]
    lines = [table(("PROFILE", "SERVER", "UPTIME", "RUNTIME"), rows, max_columns=width())] if rows else []
    for machine in found:
        if machine["why"]:
            lines += fold(f"{machine['profile']}: can't connect: {clean_line(machine['why'], MAX_CHARS)}")
    for machine in found:
        if any(server["runtime"] is None for server in machine["servers"]):
            ends = f"`remote-runtime down {shlex.quote(machine['profile'])} --orphans`"
            lines += fold(f"{ends} stops orphaned servers")
    if not found:
        return "No machines to check: no profile names one."
    return "\n".join(lines) or "No remote-runtime servers are running on the profiles' machines."
