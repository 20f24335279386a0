"""The screen of `status --watch`: the runtimes, or one log, or the keys, between a headline and a footer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...core.sanitize import clean_line
from .console import MAX_CHARS, wrap
from .history import History
from .log_lines import short_line
from .runtime_block import RuntimeBlock
from .status_table import NO_RUNTIME
from .theme import rich_style

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text

TITLE = "remote-runtime status"
FOOTER = "q quits · p pauses · o opens Colab · l shows the log · d stops · ? explains"
SHORT_FOOTER = "q quits · p pauses · o Colab · l log · d stops · Tab selects · ? explains"  # of several runtimes
LOG_FOOTER = "q returns · ↑ ↓ PgUp PgDn scroll · End follows the log"
HELP = (
    ("q, Esc", "quit"),
    ("p, Space", "pause, or continue"),
    ("o", "open Colab in the browser"),
    ("l", "show the log of the background process; q returns"),
    ("d", "stop the runtime, after a question"),
    ("Tab", "select the next runtime for o, l and d"),
    ("?", "show the keys, or hide them"),
)
DEFAULT_BLOCK_LINES = 22


@dataclass
class LogView:
    """``from_end``: how many of the last lines are below the screen."""

    name: str
    lines: Sequence[str] = ()
    from_end: int = 0


@dataclass
class Dashboard:
    """A rich renderable that keeps the history of runtimes. ``full_screen``: it fills all lines of the console.
    ``message``: shown instead of the keys, such as a question."""

    full_screen: bool = False
    paused: bool = False
    plain: bool = False
    shows_help: bool = False
    message: str = ""
    log_view: LogView | None = None
    _selected: str = ""
    _runtimes: Sequence[Mapping[str, Any]] = ()
    _logs: Mapping[str, str] = field(default_factory=dict)
    _histories: dict[str, History] = field(default_factory=dict)

    def update(self, runtimes: Sequence[Mapping[str, Any]], at_s: float, logs: Mapping[str, str] | None = None) -> None:
        """``runtimes``: what `status` returns; ``at_s``: on a monotonic clock; ``logs``: last lines by name."""
        for runtime in runtimes:
            self._histories.setdefault(runtime["name"], History()).update(runtime, at_s)
        self._runtimes, self._logs = runtimes, logs or {}

    @property
    def selected(self) -> Mapping[str, Any] | None:
        """The runtime that the keys act on; None if there is none."""
        return next((each for each in self._runtimes if each["name"] == self._selected), None) or next(
            iter(self._runtimes), None
        )

    def select_next(self) -> None:
        names = [runtime["name"] for runtime in self._runtimes]
        if self.selected is not None:
            self._selected = names[(names.index(self.selected["name"]) + 1) % len(names)]

    def scroll(self, lines: int) -> None:
        """Scroll the log towards its beginning."""
        if self.log_view is not None:
            self.log_view.from_end = min(max(0, self.log_view.from_end + lines), max(0, len(self.log_view.lines) - 1))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns, height = options.max_width, console.size.height
        title = f"{TITLE} · log of {self.log_view.name}" if self.log_view else TITLE
        yield self._headline(clean_line(title, MAX_CHARS), columns)
        footer = self._footer(columns)
        lines = height - 1 - len(footer) if self.full_screen else DEFAULT_BLOCK_LINES * max(1, len(self._runtimes))
        if self.shows_help:
            rows = [self._line(f"  {key:<10}{text}") for key, text in HELP]
        elif self.log_view is not None:
            rows = self._log_rows(self.log_view, lines)
        else:
            rows = self._runtime_rows(columns, lines)
        yield from rows[:lines]
        for _ in range(lines - len(rows) if self.full_screen else 0):
            yield self._line("")
        yield from footer

    def _headline(self, title: str, columns: int) -> Text:
        clock = time.strftime("%H:%M:%S")
        row = self._line(title, "heading")
        if self.paused:
            row.append("  paused", style=rich_style("warning"))
        row.append(" " * max(2, columns - len(row) - len(clock)) + clock, style=rich_style("detail"))
        return row

    def _footer(self, columns: int) -> list[Text]:
        if self.message:
            return [self._line(line, "warning") for line in wrap(clean_line(self.message, MAX_CHARS), columns)]
        footer = SHORT_FOOTER if len(self._runtimes) > 1 else FOOTER
        return [self._line(LOG_FOOTER if self.log_view else footer, "detail")]

    def _log_rows(self, view: LogView, lines: int) -> list[Text]:
        end = len(view.lines) - view.from_end
        return [self._line(clean_line(short_line(line), MAX_CHARS)) for line in view.lines[max(0, end - lines) : end]]

    def _runtime_rows(self, columns: int, lines: int) -> list[Text]:
        """Each runtime gets the same share of the lines, but for what those that are down leave over."""
        if not self._runtimes:
            return [self._line(NO_RUNTIME)]
        several = len(self._runtimes) > 1
        blocks = [
            RuntimeBlock(
                runtime,
                self._histories[runtime["name"]],
                self._logs.get(runtime["name"], ""),
                is_selected=several and runtime is self.selected,
                is_plain=self.plain,
            )
            for runtime in self._runtimes
        ]
        rows: list[Text] = []
        by_need = sorted(blocks, key=lambda block: block.runtime["state"] != "down")
        free, drawn = lines - (len(blocks) - 1), {}
        for number, block in enumerate(by_need):
            drawn[id(block)] = block.draw(columns, max(1, free // (len(blocks) - number)))
            free -= len(drawn[id(block)])
        for block in blocks:
            rows += [*([self._line("")] if rows else []), *drawn[id(block)]]
        return rows

    @staticmethod
    def _line(text: str, style: str = "") -> Text:
        from rich.text import Text

        return Text(text, style=rich_style(style), no_wrap=True, overflow="ellipsis")


def svg(dashboard: Dashboard, *, columns: int, title: str) -> str:
    """The dashboard as SVG, as drawn on a dark terminal of this width."""
    import io

    from rich.console import Console

    nowhere = io.StringIO()
    console = Console(record=True, width=columns, file=nowhere, force_terminal=True, color_system="truecolor")
    console.print(dashboard)
    return console.export_svg(title=title)
