"""Questions to the user at a terminal that can only print lines: they type the answer, or the number of a row."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ...commands.interview import Rows, Validator
from ...core.callbacks import Progress
from ...core.errors import RemoteRuntimeError
from ...core.sanitize import clean_line
from .console import say, table, warn, width
from .keys import discard_typed
from .progress import TerminalView
from .theme import paint

MAX_ROWS = 20
MAX_REASON_CHARS = 120
NAME = "profiles new"


class TerminalPrompts:
    """``interview.Prompts`` on a terminal; in the main thread only."""

    def __init__(self, view: TerminalView) -> None:
        self._view = view

    def note(self, text: str) -> None:
        self._view.note(NAME, text)

    def preview(self, text: str) -> None:
        self._view.pause()
        lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        say("")
        for line in lines:
            start, mark, comment = line.partition(" #")
            say(f"  {start}{paint(mark + comment, 'detail')}")
        say("")

    def show_error(self, error: RemoteRuntimeError) -> None:
        why = textwrap.shorten(clean_line(error.why, 1000).partition("; ")[0], MAX_REASON_CHARS, placeholder=" …")
        self._view.note(NAME, f"{error.what}: {why}" if why else error.what)
        if error.hint:
            say(f"  fix: {error.hint}")

    @contextmanager
    def progress(self, text: str) -> Iterator[Progress]:
        self._view.step(NAME, text)
        try:
            yield lambda detail: self._view.detail(NAME, detail)
        except BaseException:
            self._view.failed(NAME)
            raise
        finally:
            self._view.pause()
            discard_typed()  # or it would answer the next question
        self._view.done(NAME)

    def prompt(self, question: str, *, default: str = "", validate: Validator) -> str:
        while True:
            text = self._read(question, default)
            why = validate(text)
            if not why:
                return text
            warn(why)

    def choose(
        self, question: str, head: Sequence[str], rows: Rows, *, default: str = "", validate: Validator | None
    ) -> Sequence[str]:
        matching = list(enumerate(rows, 1))
        show = True
        while True:
            if show:
                self._list(head, matching, len(rows))
            text = self._read(f"{question} (number or name)", default)
            show, picked = False, _matching_numbers(text, rows)
            if len(picked) == 1:
                return rows[picked[0] - 1]
            narrowed = [(number, row) for number, row in enumerate(rows, 1) if text and _mentions(row, text)]
            if picked or (narrowed and len(rows) > MAX_ROWS):
                matching = [(number, rows[number - 1]) for number in picked] or narrowed
                show = True
                continue
            takes_text = validate is not None and not text.isdecimal()
            why = validate(text) if validate and takes_text else f"expected a row from 1 to {len(rows)}, got `{text}`"
            if not why:
                return [text]
            warn(why)

    def confirm(self, question: str, *, default: bool) -> bool:
        while True:
            text = self._read(f"{question} [{'Y/n' if default else 'y/N'}]", "").lower()
            if not text:
                return default
            if text in ("y", "yes", "n", "no"):
                return text.startswith("y")
            say("  expected y or n")

    def confirm_replace(self, name: str, *, taken: bool) -> bool:
        """Whether a profile of this name may be written."""
        return not taken or self.confirm(f"Profile {name} already exists. Replace it?", default=False)

    def confirm_or_leave(self, question: str, *, default: bool) -> bool:
        """False also when the user leaves."""
        try:
            return self.confirm(question, default=default)
        except (EOFError, KeyboardInterrupt):
            return False

    def _read(self, question: str, default: str) -> str:
        proposal = f" [{clean_line(default, 200)}]" if default else ""
        prompt = f"{question}{proposal}: "
        if is_dumb_terminal() or not sys.stdout.isatty():
            return self._view.read_line(prompt).strip() or default
        with contextlib.suppress(ImportError):  # Windows has its own line editing
            import readline  # noqa: F401  # line editing and history in ``input``
        self._view.pause()
        try:
            return input(prompt).strip() or default
        except (EOFError, KeyboardInterrupt):
            say("")  # the next text begins on a line of its own
            raise

    def _list(self, head: Sequence[str], rows: Sequence[tuple[int, Sequence[str]]], of: int) -> None:
        shown = [(str(number), *row) for number, row in rows[:MAX_ROWS]]
        say(table(("", *head), shown, max_columns=width()))
        if len(rows) > MAX_ROWS:
            say(f"  {len(rows) - MAX_ROWS} more of {of}: type a part of the name to filter")


def is_dumb_terminal() -> bool:
    """Whether the terminal can only print lines."""
    return os.environ.get("TERM", "dumb" if os.name == "posix" else "") in ("dumb", "unknown")


def _matching_numbers(text: str, rows: Rows) -> list[int]:
    """The numbers of the rows that ``text`` means: the row of this number, else those of this name."""
    if re.fullmatch("[0-9]{1,9}", text):
        return [int(text)] if 1 <= int(text) <= len(rows) else []
    return [number for number, row in enumerate(rows, 1) if row[0] == text]


def _mentions(row: Sequence[str], text: str) -> bool:
    return any(text.lower() in cell.lower() for cell in row)
