"""The mistakes in a profile, each with its line, key, what is wrong and what is allowed, and the wording they share."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..core.fast_dataclass import fast_dataclass
from ..core.sanitize import clean, redact

if TYPE_CHECKING:
    from yaml.nodes import Node

_MAX_QUOTED_CHARS = 60
_PASSWORD = re.compile(r":[^\s/@]+@")  # USER:PASSWORD@HOST


@fast_dataclass(frozen=True)
class Problem:
    """``line`` counts from 1; ``key`` is dotted (``forward.extra[0]``), empty for the file as a whole."""

    line: int
    key: str
    message: str
    allowed: str = ""

    def sentence(self, file: str) -> str:
        """``file:line: key: what is wrong; what is allowed``."""
        where = f"{file}:{self.line}: " + (f"{self.key}: " if self.key else "")
        if not self.allowed:
            return where + self.message
        if self.message.endswith("?"):
            return f"{where}{self.message} {self.allowed[0].upper()}{self.allowed[1:]}"
        return f"{where}{self.message}; {self.allowed}"


class ValidationError(Exception):
    """All mistakes in one value, so that a person sees them at once."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


def error_at(node: Node, key: str, message: str, allowed: str = "") -> ValidationError:
    return ValidationError(problem_at(node, key, message, allowed))


def problem_at(node: Node, key: str, message: str, allowed: str = "") -> Problem:
    return Problem(line_number(node), key, message, allowed)


def line_number(node: Node) -> int:
    return int(node.start_mark.line) + 1


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean X?``, or an empty text."""
    close = closest_match(word, known)
    return f"did you mean {close}?" if close else ""


def closest_match(word: str, known: Iterable[str]) -> str:
    """The known word that is most like ``word``, or an empty text."""
    if len(word) > _MAX_QUOTED_CHARS:
        return ""
    known_words = {candidate.lower().replace("-", "_"): candidate for candidate in known}
    close = difflib.get_close_matches(word.lower().replace("-", "_"), known_words, n=1, cutoff=0.6)
    return known_words[close[0]] if close else ""


def quoted(text: str) -> str:
    """``text`` in quotes, on one line, shortened, without passwords."""
    shown = clean(_PASSWORD.sub(":***@", redact(text)), _MAX_QUOTED_CHARS)
    return '"' + shown.replace("\n", " ").replace("\t", " ") + '"'


def join_with_or(words: Iterable[str]) -> str:
    """``a, b or c``."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last
