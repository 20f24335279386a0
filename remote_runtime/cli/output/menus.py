"""Questions with menus: lists that the arrow keys move in, and lines that can be edited."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...commands.interview import Rows, Validator
from ...core.sanitize import clean_line
from .console import align, fit_columns, warn, width
from .progress import TerminalView
from .prompts import TerminalPrompts, is_dumb_terminal
from .theme import prompt_toolkit_style

if TYPE_CHECKING:
    from questionary import Question

FILTER_FROM_ROWS = 8
CELL_STYLES = {"RUNNING": "ok"}
POINTER_COLUMNS = 4
TYPED = "Another one …"
STYLES = {
    "qmark": "info", "question": "heading", "answer": "", "pointer": "info", "highlighted": "heading",
    "ok": "ok", "search_success": "ok", "search_none": "error",
}  # fmt: skip


class MenuPrompts(TerminalPrompts):
    """``TerminalPrompts`` with menus, by questionary."""

    def __init__(self, view: TerminalView) -> None:
        super().__init__(view)
        from prompt_toolkit.output import create_output
        from questionary import Style

        style = Style([(name, prompt_toolkit_style(style)) for name, style in STYLES.items()])
        self._options: dict[str, Any] = {"style": style, "output": create_output(stdout=sys.stderr)}

    def prompt(self, question: str, *, default: str = "", validate: Validator) -> str:
        import questionary

        text = default
        while True:
            text = str(self._ask(questionary.text(f"{question}:", default=text, **self._options))).strip()
            why = validate(text)
            if not why:
                return text
            warn(why)  # questionary shows one line of it only

    def choose(
        self, question: str, head: Sequence[str], rows: Rows, *, default: str = "", validate: Validator | None
    ) -> Sequence[str]:
        import questionary

        cells = [list(head), *([clean_line(cell, 200) for cell in row] for row in rows)]
        shown = fit_columns(cells, max(20, (width() or 80) - POINTER_COLUMNS), rank=lambda column: column)
        heading, *lines = align(cells, shown)
        choices = [
            questionary.Choice(_styled(line, row), value=number)
            for number, (line, row) in enumerate(zip(lines, rows, strict=True))
        ]
        if validate is not None:
            choices.append(questionary.Choice(MenuTitle([("class:text", TYPED)]), value=len(rows)))
        keys = "arrow keys, or type to filter" if len(rows) >= FILTER_FROM_ROWS else "arrow keys"
        asked = questionary.select(
            question,
            choices=choices,
            default=choices[next((number for number, row in enumerate(rows) if default and row[0] == default), 0)],
            instruction=f"({keys})\n{' ' * (POINTER_COLUMNS - 1)}{heading}",
            use_jk_keys=False,
            use_search_filter=len(rows) >= FILTER_FROM_ROWS,
            **self._options,
        )
        number = int(self._ask(asked))
        if validate is not None and number == len(rows):
            return [self.prompt(question, validate=validate)]
        return rows[number]

    def confirm(self, question: str, *, default: bool) -> bool:
        import questionary

        return bool(self._ask(questionary.confirm(question, default=default, **self._options)))

    def _ask(self, question: Question) -> Any:
        self._view.pause()
        return question.unsafe_ask()


class MenuTitle(list[tuple[str, str]]):
    """A styled title. questionary filters by ``title.lower()``."""

    def lower(self) -> str:
        return "".join(text for _, text in self).lower()


def _styled(line: str, row: Sequence[str]) -> MenuTitle:
    cell = next((cell for cell in row if cell in CELL_STYLES and f" {cell} " in line), "")
    if not cell:
        return MenuTitle([("class:text", line)])
    before, _, after = line.partition(cell)
    return MenuTitle([("class:text", before), (f"class:{CELL_STYLES[cell]}", cell), ("class:text", after)])


def prompts_for(view: TerminalView) -> TerminalPrompts:
    """With menus where the terminal can draw them."""
    return TerminalPrompts(view) if is_dumb_terminal() else MenuPrompts(view)
