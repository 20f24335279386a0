"""What is wrong with a profile: where, which key, and what is allowed instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..core.frozen import dataclass
from ..core.sanitize import clean, redacted

if TYPE_CHECKING:
    from yaml.nodes import Node

_SHOWN_CHARACTERS = 60
_PASSWORD = re.compile(r":[^\s/@]+@")  # USER:PASSWORD@HOST


@dataclass(frozen=True)
class Complaint:
    """``line`` counts from 1; ``key`` is dotted (``forward.extra[0]``), empty for the file as a whole."""

    line: int
    key: str
    what: str
    allowed: str = ""

    def sentence(self, file: str) -> str:
        """``file:line: key: what is wrong; what is allowed``."""
        where = f"{file}:{self.line}: " + (f"{self.key}: " if self.key else "")
        if not self.allowed:
            return where + self.what
        if self.what.endswith("?"):
            return f"{where}{self.what} {self.allowed[0].upper()}{self.allowed[1:]}"
        return f"{where}{self.what}; {self.allowed}"


class Wrong(Exception):
    """A value cannot be read. Carries every complaint about it, so that all can be told at once."""

    def __init__(self, complaints: Iterable[Complaint]) -> None:
        self.complaints = tuple(complaints)
        super().__init__(f"{len(self.complaints)} complaints")


def wrong(node: Node, key: str, what: str, allowed: str = "") -> Wrong:
    """One complaint about ``node``."""
    return Wrong([Complaint(line_of(node), key, what, allowed)])


def line_of(node: Node) -> int:
    return int(node.start_mark.line) + 1


def near_miss(word: str, known: Iterable[str]) -> str:
    """``did you mean X?`` or nothing."""
    close = nearest(word, known)
    return f"did you mean {close}?" if close else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is most likely meant, or nothing."""
    if len(word) > _SHOWN_CHARACTERS:
        return ""
    known_words = {candidate.lower().replace("-", "_"): candidate for candidate in known}
    close = difflib.get_close_matches(word.lower().replace("-", "_"), known_words, n=1, cutoff=0.6)
    return known_words[close[0]] if close else ""


def quoted(text: str) -> str:
    """``text`` as it can be shown: in quotes, on one line, shortened, without passwords."""
    return (
        '"'
        + clean(_PASSWORD.sub(":***@", redacted(text)), _SHOWN_CHARACTERS).replace("\n", " ").replace("\t", " ")
        + '"'
    )


def listed(words: Iterable[str]) -> str:
    """``a, b or c``."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last
