"""Formats the mistakes of a profile: a table of places, keys and messages, and a caret under a single one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...core.errors import ProfileError, ProfileProblem
from ...core.sanitize import clean_line
from .theme import paint

MIN_KEY_COLUMNS, MAX_KEY_COLUMNS = 22, 40
MIN_MESSAGE_COLUMNS = 30
MAX_MESSAGE_CHARS = 1000


Wrap = Callable[[str, int], list[str]]


def problem_lines(error: ProfileError, columns: int, wrap: Wrap) -> Iterator[str]:
    """The lines between the headline and the hint. ``columns``: the terminal's, 0 without one; ``wrap(text, columns)``
    folds a message."""
    place_columns = max(len(_place(problem)) for problem in error.problems)
    key_lengths = [len(_key(problem)) for problem in error.problems]
    limit = min(MAX_KEY_COLUMNS, max(MIN_KEY_COLUMNS, (columns or MAX_KEY_COLUMNS * 4) // 4))
    key_columns = max((length for length in key_lengths if length <= limit), default=0)
    for problem in error.problems:
        yield from _row(problem, place_columns, key_columns, columns or 10_000, wrap)
    yield from (f"  {line.removeprefix(f'{error.path}: ')}" for line in error.why.splitlines()[len(error.problems) :])
    if error.excerpt:
        yield from _excerpt(error.problems[0], error.excerpt)


def _row(problem: ProfileProblem, place_columns: int, key_columns: int, columns: int, wrap: Wrap) -> Iterator[str]:
    start, key = f"  {_place(problem):>{place_columns}}  ", _key(problem)
    indent = len(start) + (key_columns + 2 if key_columns else 0)
    message = clean_line(problem.message, MAX_MESSAGE_CHARS)
    if len(key) > key_columns or columns - indent < MIN_MESSAGE_COLUMNS:
        yield start + paint(key, "heading")
        start, indent = " " * len(start), len(start)
    elif key_columns:
        start += f"{paint(key, 'heading')}{' ' * (key_columns - len(key) + 2)}"
    lines = wrap(message, max(MIN_MESSAGE_COLUMNS, columns - indent))
    for number, line in enumerate(lines or [""]):
        yield (" " * indent if number else start) + line


def _excerpt(problem: ProfileProblem, excerpt: str) -> Iterator[str]:
    """The source line with a caret below what is wrong."""
    number = str(problem.line)
    margin, bar = " " * len(number), paint("|", "detail")
    carets = "^" * max(1, problem.end_column - problem.column)
    yield f"  {margin} {bar}"
    yield f"  {paint(number, 'detail')} {bar} {excerpt}"
    yield f"  {margin} {bar} {' ' * (problem.column - 1)}{paint(carets, 'error')}"


def _place(problem: ProfileProblem) -> str:
    return f"{problem.line}:{problem.column}"


def _key(problem: ProfileProblem) -> str:
    return clean_line(problem.key, 200)
