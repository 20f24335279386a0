"""The mistakes in a profile, each with its place, key and message, and the wording they share."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..core.errors import ProfileError, ProfileProblem
from ..core.sanitize import clean, redact

if TYPE_CHECKING:
    from yaml.nodes import Node

_MAX_PROBLEMS = 50
_MAX_QUOTED_CHARS = 60
_MAX_EXCERPT_CHARS = 200
_PASSWORD = re.compile(r":[^\s/@]+@")  # USER:PASSWORD@HOST
_LINE_END = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
# What may precede an excerpt's value: keys and brackets, but no other value, which may be a secret.
_KEYS_ONLY = re.compile(r"[\s-]*(?:[\w.-]+:\s*[\[{]?\s*)*")


class ValidationError(Exception):
    """All mistakes in one value, so that a person sees them at once."""

    def __init__(self, *problems: ProfileProblem) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


def error_at(node: Node, key: str, message: str) -> ValidationError:
    return ValidationError(problem_at(node, key, message))


def problem_at(node: Node, key: str, message: str, *, marks_value: bool = True) -> ProfileProblem:
    """``marks_value``: the node itself is wrong, rather than something that is missing in it."""
    start, end = node.start_mark, node.end_mark
    ends_here = marks_value and end is not None and end.line == start.line
    return ProfileProblem(line_number(node), start.column + 1, key, message, end.column + 1 if ends_here else 0)


def line_number(node: Node) -> int:
    return int(node.start_mark.line) + 1


def profile_error(reference: str, file: str, path: str, text: str, error: ValidationError) -> ProfileError:
    """``reference``: the name or the path that the user gave; ``file``: how a sentence names the file at ``path``;
    ``text``: its content."""
    problems = error.problems
    lines = [problem.sentence(path) for problem in problems[:_MAX_PROBLEMS]]
    if len(problems) > _MAX_PROBLEMS:
        lines.append(f"{path}: and {len(problems) - _MAX_PROBLEMS} more")
    hint = f"Edit {file}, then run `remote-runtime profiles check {shlex.quote(reference)}`"
    what = f"{len(problems)} problems in {file}" if len(problems) > 1 else f"1 problem in {file}"
    excerpt = _excerpt(text, problems[0]) if len(problems) == 1 else ""
    return ProfileError(what, "\n".join(lines), hint, path, tuple(problems[:_MAX_PROBLEMS]), excerpt)


def _excerpt(text: str, problem: ProfileProblem) -> str:
    """The line of a problem up to the end of what is wrong, if that shows nothing but keys and what the message
    quotes; else empty."""
    lines = _LINE_END.split(text)
    if not problem.end_column or problem.line > len(lines):
        return ""
    line = lines[problem.line - 1]
    before, value = line[: problem.column - 1], line[problem.column - 1 : problem.end_column - 1]
    bare = value.strip("'\"")
    is_quoted = f"`{bare}`" in problem.message or problem.key.endswith(bare)
    shown = before + value
    is_plain = _KEYS_ONLY.fullmatch(before) and clean(shown, _MAX_EXCERPT_CHARS) == shown and "\t" not in shown
    return shown if bare and is_quoted and is_plain else ""


def expected(what: str, got: str) -> str:
    """The sentence of most mistakes."""
    return f"expected {what}, got {got}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean `X`?``, or an empty text."""
    close = closest_match(word, known)
    return f"did you mean `{close}`?" if close else ""


def closest_match(word: str, known: Iterable[str]) -> str:
    """The known word that is most like ``word``, or an empty text."""
    if len(word) > _MAX_QUOTED_CHARS:
        return ""
    known_words = {candidate.lower().replace("-", "_"): candidate for candidate in known}
    close = difflib.get_close_matches(word.lower().replace("-", "_"), known_words, n=1, cutoff=0.6)
    return known_words[close[0]] if close else ""


def quoted(text: str) -> str:
    """``text`` in backticks, on one line, shortened, without passwords."""
    shown = clean(_PASSWORD.sub(":***@", redact(text)), _MAX_QUOTED_CHARS)
    return "`" + shown.replace("\n", " ").replace("\t", " ").replace("`", "'") + "`"


def one_of(words: Iterable[str]) -> str:
    """The words in backticks, as in "`a`, `b` or `c`"."""
    *most, last = [f"`{word}`" for word in words]
    return f"{', '.join(most)} or {last}" if most else last
