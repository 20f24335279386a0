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

from ...core.errors import Bug, Interrupted, ProfileError, RemoteRuntimeError, UsageError
from ...core.sanitize import clean, clean_line
from . import format
from .theme import has_colour, link, paint

MAX_CHARS = 2000
COMMAND = re.compile(r"`[^`]*`|(?<=[Rr]un: ).*|\bgcloud .*")
ASCII = {"→": "->", " ▾": "", "…": "...", "–": "-", "×": "x", "·": "-"}  # for streams without Unicode
ONLY_COMMAND = re.compile(r"`[^`]*`")
BUG_FIX = "`remote-runtime doctor --report FILE` writes what a bug report needs, without secrets"
MAX_REASON_CHARS = 16_000  # all complaints about a profile, the end of a log


def answer(text: str) -> None:
    """Print the answer of a command."""
    _write(sys.stdout, text)


def document(content: Mapping[str, Any]) -> None:
    """Print the answer as one JSON document."""
    answer(json.dumps({"schema": 1, **content}, indent=2, ensure_ascii=True))


def failure_line(content: Mapping[str, Any]) -> None:
    """Print the error of a command whose answer is a line of JSON for each event."""
    answer(json.dumps({"schema": 1, "event": "failed", **content}, ensure_ascii=True))


def say(text: str, style: str = "") -> None:
    """Print a text on stderr, folded, in a style of the theme."""
    say_lines([paint(line, style) if style else line for line in fold_text(text, MAX_CHARS)])


def say_lines(lines: Sequence[str]) -> None:
    """Print lines on stderr as they are."""
    _write(sys.stderr, "\n".join(lines))


def failure(error: RemoteRuntimeError, name: str = "") -> None:
    """Print what failed, why, what is left of it, and how to fix it."""
    what, subject = clean_line(error.what, MAX_CHARS), f" {clean_line(name, MAX_CHARS)}" if name else ""
    if isinstance(error, Interrupted):
        sentences = [f"{part}." for part in (what, clean_line(error.why, MAX_CHARS)) if part]
        lines = fold(" ".join([f"{subject[1:]}:", *sentences] if subject else sentences))
    else:
        label = f"error[{error.code}]"
        lines = fold(f"{label}{subject}: {what}", indent="  ")
        lines[0] = paint(label, "error") + lines[0][len(label) :]
        lines += _reasons(error)
    for remaining in error.remains:
        lines += labelled("left", remaining, 2, label_style="warning")
    say_lines([*lines, *labelled("fix", error.hint, 2, label_style="heading"), *_more(error)])


def _reasons(error: RemoteRuntimeError) -> list[str]:
    if not isinstance(error, ProfileError):
        return labelled("why", error.why, 2)
    from .problems import problem_lines

    return list(problem_lines(error, width(), wrap))


def warning(error: RemoteRuntimeError) -> None:
    """Print why an extra failed, on stderr."""
    warn(f"{error.what}: {error.why}" if error.why else error.what)
    if error.hint:
        say_lines(labelled("fix", error.hint, 2, label_style="heading"))


def warn(text: str) -> None:
    """Print a warning on stderr."""
    _write_marked("!", "warning", text)


def _write_marked(mark: str, style: str, text: str) -> None:
    first, *rest = fold_text(text, MAX_CHARS, 2) or [""]
    say_lines([f"{paint(mark, style)} {first}", *(f"  {line}" for line in rest)])


def labelled(
    label: str, text: str, margin: int, *, label_style: str = "detail", stream: TextIO | None = None
) -> list[str]:
    """The folded lines of a reason or a hint, the first with its label; none if it is empty."""
    begin = f"{label}: "
    lines = fold_text(text, MAX_REASON_CHARS, margin + len(begin))
    if len(lines) == 1 and ONLY_COMMAND.fullmatch(lines[0]):
        lines = [paint(lines[0].strip("`"), "command", stream)]
    begins = [paint(begin.rstrip(), label_style, stream) + " ", *[" " * len(begin)] * len(lines)]
    return [" " * margin + start + bright_commands(line, stream) for start, line in zip(begins, lines, strict=False)]


def bright_commands(line: str, stream: TextIO | None = None) -> str:
    """The line with its commands in the style of commands; with backticks where there are no colours."""
    if not has_colour(stream):
        return line
    return COMMAND.sub(lambda command: paint(command[0].strip("`"), "command", stream), line)


def _more(error: RemoteRuntimeError) -> list[str]:
    """Where the page about the error's code is; nothing for mistakes in a command line or a profile."""
    if isinstance(error, (UsageError, Interrupted, Bug)):
        return []
    page = page_address(error.code)
    if page:
        return [f"  {paint('see:', 'detail')} {link(page, page)}"]
    return [paint(f"  more: remote-runtime help {error.code}", "detail")]


def page_address(code: str) -> str:
    """The page of an error code on the project's site; empty while no site is set (``setup.cfg``)."""
    from importlib import metadata  # slow, and only needed for errors

    try:
        addresses = metadata.metadata("remote-runtime").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        addresses = []  # run from its source
    for address in addresses:
        label, _, site = address.partition(", ")
        if label == "Documentation":
            return f"{site.rstrip('/')}/errors/{code}.md"
    return ""


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
    """Print where the traceback of a bug is."""
    label = paint("error[bug]", "error")
    say_lines([f"{label}: This is a bug in remote-runtime", *labelled("log", log, 2), *labelled("fix", BUG_FIX, 2)])


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
    """A table whose columns are as wide as their widest cell. Columns beyond ``max_columns`` are written below
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
    cells: Sequence[Sequence[str]],
    shown: Sequence[int],
    style: Callable[[int, int, str], str] = lambda row, column, text: text,
) -> list[str]:
    """The rows with aligned columns. ``style`` may add colours to the text of the cell in a row and a column."""
    widths = _widths(cells)
    lines = []
    for number, row in enumerate(cells):
        gaps = [" " * (widths[column] - len(row[column])) for column in shown]
        texts = [style(number, column, row[column]) + gap for column, gap in zip(shown, gaps, strict=True)]
        lines.append("  ".join(texts).rstrip())
    return lines


def _widths(cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*cells, strict=True)]


def stopped(result: Mapping[str, Any]) -> None:
    """The result of `down` for a runtime, and what keeps running."""
    name, instance, server = result["name"], result["instance"], result["server"]
    if server == "kept":
        is_checked = result.get("server_checked", True)
        kept = "Jupyter is suspended with it" if str(instance).startswith("suspend") else "Jupyter keeps running"
        text = kept if is_checked else "Jupyter was not stopped (not checked)"
    else:
        text = {"stopped": "stopped Jupyter", "gone": "nothing was running", "unknown": "the machine was not checked"}[
            server
        ]
    if instance in ("gone", "deleted"):
        text = "VM deleted"
    elif instance not in (None, "running", "unknown"):
        text += f", VM is {instance}"
    _write_marked("✓" if has_unicode(sys.stderr) else "+", "ok", f"Stopped {name}: {text}")
    if server == "unknown":
        say(f"  Check it with `remote-runtime status {name} --all-machines`")
    if instance == "running":
        facts = [f"up {format.duration_since(result['instance_since'])}"] if result.get("instance_since") else []
        facts += filter(None, [format.hourly_price(result.get("price"))])
        details = f" ({', '.join(facts)})" if facts else ""
        warn(f"VM is still running and billing{details}. Stop it with:")
        _write(sys.stderr, paint(f"  remote-runtime down {name} --stop-instance", "command"))
    elif instance == "unknown":
        warn("VM could not be checked; it may still be running and billing")
    if so_far := (result.get("price") or {}).get("estimate"):
        say(f"  This runtime's VM has cost about {format.money(so_far, result['price']['currency'])} (list price)")
    for note in result.get("notes", ()):
        warn(note)
    if result.get("orphans"):
        say(f"  Also stopped: {', '.join(result['orphans'])}")


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text + "\n")
    except UnicodeEncodeError:
        for character, replacement in ASCII.items():
            text = text.replace(character, replacement)
        stream.write(text.encode(stream.encoding, "replace").decode(stream.encoding) + "\n")
    stream.flush()
