"""Prints on stdout (the answer) and on stderr (progress and errors)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from ...core.errors import ProfileError, RemoteRuntimeError
from ...core.model import UNKNOWN_INTERPRETER
from ...core.sanitize import clean, clean_line
from . import format
from .theme import paint

MAX_CHARS = 2000
COMMAND = re.compile(r"`[^`]*`|(?<=[Rr]un: ).*|\bgcloud .*")
MAX_REASON_CHARS = 16_000  # all complaints about a profile, the end of a log


def answer(text: str) -> None:
    """Print the answer of a command."""
    _write(sys.stdout, text)


def document(content: Mapping[str, Any]) -> None:
    """Print the answer as one JSON document."""
    answer(json.dumps({"schema": 1, **content}, indent=2, ensure_ascii=True))


def say(text: str, style: str = "") -> None:
    """Print a line on stderr, in a style of ``theme.STYLES`` if one is given."""
    lines = fold_text(text, MAX_CHARS)
    _write(sys.stderr, "\n".join(paint(line, style) if style else line for line in lines))


def failure(error: RemoteRuntimeError, name: str = "") -> None:
    """Print what happened, why, and what to do next."""
    headline = clean_line(f"error[{error.code}]{f' {name}' if name else ''}: {error.what}", MAX_CHARS)
    _print_error("\n".join(fold(headline, indent=" " * 8)).removeprefix("error"))
    if isinstance(error, ProfileError):
        from .problems import problem_lines

        reasons = list(problem_lines(error, width(), wrap))
    else:
        reasons = labelled("why", error.why, 2)
    for line in reasons + labelled("next", error.hint, 2):
        _write(sys.stderr, line)


def labelled(label: str, text: str, margin: int) -> list[str]:
    """The folded lines of a reason or a hint, the first with its label; none if it is empty."""
    lines = fold_text(text, MAX_REASON_CHARS, margin + 6)
    return [f"{' ' * margin}{'' if number else label + ':':<6}{line}" for number, line in enumerate(lines)]


def fold_text(text: str, max_chars: int, margin: int = 0) -> list[str]:
    return [part for line in clean(text, max_chars).splitlines() for part in fold(line, margin)]


def fold(line: str, margin: int = 0, indent: str = "") -> list[str]:
    """Fold a line to the terminal's width less ``margin``. Words, paths, commands and lines that begin with a space
    stay whole, so that they can be copied."""
    max_columns = width() - margin
    if max_columns < 20 or len(line) <= max_columns or line.startswith(" "):
        return [line]
    return wrap(line, max_columns, indent)


def wrap(line: str, columns: int, indent: str = "") -> list[str]:
    """Fold a line between words, but not inside a command. ``indent`` begins all lines but the first."""
    unbroken = COMMAND.sub(lambda command: command[0].replace(" ", "\0"), line)
    parts = textwrap.wrap(unbroken, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [part.replace("\0", " ") for part in parts]


def bug(log: str) -> None:
    _print_error(f": this is a bug of remote-runtime, not of yours\n  log:  {log}")


def has_unicode(stream: TextIO) -> bool:
    return "utf" in (getattr(stream, "encoding", None) or "ascii").lower()


def width() -> int:
    """The terminal's columns; 0 if there is no terminal."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if stream.isatty():
                return os.get_terminal_size(stream.fileno()).columns or 80
    return 0


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, max_columns: int = 0) -> str:
    """A table whose columns are as wide as their widest cell. Columns that do not fit ``max_columns`` are written below
    their row, never cut: names of machines may differ in the last letter only."""
    cells = [list(head), *([clean_line(cell, 200) for cell in row] for row in rows)]
    shown = fit_columns(cells, max_columns, rank=lambda column: column)
    lines = []
    for row, line in zip(cells, align(cells, shown), strict=True):
        lines.append(line)
        below = [cell for column, cell in enumerate(row) if column not in shown and cell and row is not cells[0]]
        lines += [f"     {part}" for part in wrap(" · ".join(below), max(20, max_columns - 5))]
    return "\n".join(lines)


def fit_columns(cells: Sequence[Sequence[str]], max_columns: int, rank: Callable[[int], int]) -> list[int]:
    """The columns that are not empty below the first row, less those of the highest rank (never 0) until they fit."""
    shown = [column for column in range(len(cells[0])) if any(row[column] for row in cells[1:])]
    shown = shown or list(range(len(cells[0])))
    widths = _widths(cells)
    while max_columns and sum(widths[column] + 2 for column in shown) - 2 > max_columns:
        last = max(shown, key=rank)
        if rank(last) == 0:
            break
        shown.remove(last)
    return shown


def align(
    cells: Sequence[Sequence[str]], shown: Sequence[int], style: Callable[[str], str] = lambda cell: cell
) -> list[str]:
    """The rows with aligned columns. ``style`` may add colours to a padded cell."""
    widths = _widths(cells)
    return ["  ".join(style(f"{row[column]:<{widths[column]}}") for column in shown).rstrip() for row in cells]


def _widths(cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*cells, strict=True)]


def ready(runtimes: Sequence[Mapping[str, Any]]) -> None:
    """What to do with the URLs of runtimes, and what they allow."""
    for runtime in runtimes:
        name, server = f"{runtime['name']}: " if len(runtimes) > 1 else "", runtime["server"]
        if server and server["interpreter"] not in ("", UNKNOWN_INTERPRETER):
            version = f" (Python {server['python']})" if server["python"] else ""
            say(f"{name}Jupyter runs in {server['interpreter']}{version}.")
        extra = format.extra_ports(runtime)
        if extra:
            say(f"{name}{extra[0].upper()}{extra[1:]}")
    paste_instructions()
    machines = " and ".join(dict.fromkeys(format.machine(runtime) or "the machine" for runtime in runtimes))
    say(f"A notebook connected to it can run anything on {machines}: connect only notebooks that you trust.")


def paste_instructions() -> None:
    """What to do with the URL."""
    say(
        "In Colab: Connect → Connect to a local runtime → paste the URL.\n"
        'Allow "Access other apps and services on this device" when the browser asks.'
    )


def stopped(result: Mapping[str, Any]) -> None:
    """The result of `down` for a runtime, and what keeps running."""
    servers = {
        "stopped": "Jupyter stopped",
        "kept": "Jupyter is kept" if str(result["instance"]).startswith("suspend") else "Jupyter keeps running",
        "gone": "no Jupyter of ours left",
        "unknown": f"its machine was not looked at (`remote-runtime status {result['name']} --all-machines` does)",
    }
    kept_unseen = result["server"] == "kept" and not result.get("server_checked", True)
    server = "Jupyter was not stopped, and not checked" if kept_unseen else servers[result["server"]]
    text = f"{result['name']} is down: {server}"
    if result["instance"] == "running":
        runs = f", for {format.duration_since(result['instance_since'])} so far" if result.get("instance_since") else ""
        text += f"; the instance keeps running{runs}, and costs money (--stop-instance stops it)"
    elif result["instance"] == "unknown":
        text += "; the instance could not be checked"
    elif result["instance"] == "gone":
        text += "; its machine no longer exists, and costs nothing"
    elif result["instance"]:
        text += f"; the instance is {result['instance']}"
    say(text)
    for note in result.get("notes", ()):
        say(f"{result['name']}: {note}")
    if result.get("orphans"):
        say(f"{result['name']}: also ended {', '.join(result['orphans'])}")


def _print_error(text: str) -> None:
    _write(sys.stderr, paint("error", "error") + clean(text, MAX_CHARS))


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text + "\n")
    except UnicodeEncodeError:
        stream.write(text.encode(stream.encoding, "replace").decode(stream.encoding) + "\n")
    stream.flush()
