"""The shapes of single values: each reads a YAML node, shows a value as YAML would hold it, and describes itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..core.frozen import dataclass
from .validation_errors import listed, near_miss, quoted, wrong
from .yaml_nodes import is_null, kind_of, tag_of

if TYPE_CHECKING:
    from yaml.nodes import MappingNode, Node

Schema = dict[str, Any]
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Shape(Protocol):
    """``read`` raises ``Wrong``; ``show`` is its inverse; ``as_json`` is a JSON Schema (draft 2020-12)."""

    def read(self, node: Node, key: str) -> object: ...
    def show(self, value: Any) -> object: ...
    def as_json(self) -> Schema: ...


@dataclass(frozen=True)
class Text:
    """Text that matches ``pattern`` as a whole. ``allowed`` says so in words. ``check`` answers with a complaint
    (what is wrong, what is allowed) or None. The value is shown in complaints only where a pattern is, and not where
    a secret is written by mistake (``is_shown``)."""

    allowed: str = "text"
    pattern: str = ""
    check: Callable[[str], tuple[str, str] | None] | None = None
    most_characters: int = 4096
    is_shown: bool = True

    def read(self, node: Node, key: str) -> str:
        text = scalar(node, key, self.allowed)
        if tag_of(node) != "str":
            raise wrong(node, key, f"is {kind_of(node)}, not text", "put it in quotes")
        if UNSAFE.search(text):
            raise wrong(node, key, "contains a control character or a line break", self.allowed)
        if len(text) > self.most_characters:
            raise wrong(node, key, f"is longer than {self.most_characters} characters", self.allowed)
        complaint = self.check(text) if self.check else None
        if complaint:
            raise wrong(node, key, *complaint)
        if self.pattern and not re.fullmatch(self.pattern, text):
            raise wrong(node, key, f"{quoted(text) if self.is_shown else 'the value'} does not fit", self.allowed)
        return text

    def show(self, value: str) -> object:
        return value

    def as_json(self) -> Schema:
        schema: Schema = {"type": "string", "maxLength": self.most_characters}
        return schema | {"pattern": f"^(?:{self.pattern})$"} if self.pattern else schema


@dataclass(frozen=True)
class Home:
    """A path on the machine, where YAML's bare ``~`` (nothing, to YAML) means the home directory."""

    path: Text

    def read(self, node: Node, key: str) -> str:
        return "~" if is_null(node) and getattr(node, "value", "") == "~" else self.path.read(node, key)

    def show(self, value: str) -> object:
        return value

    def as_json(self) -> Schema:
        return {"anyOf": [self.path.as_json(), {"type": "null"}]}


@dataclass(frozen=True)
class Choice:
    words: tuple[str, ...]

    def read(self, node: Node, key: str) -> str:
        text = scalar(node, key, listed(self.words))
        if text not in self.words or tag_of(node) != "str":
            hint = near_miss(text, self.words) or (f"it is {kind_of(node)}" if tag_of(node) != "str" else "")
            what = f"{quoted(text)} is not allowed" + (f", {hint}" if hint else "")
            allowed = listed(self.words)
            raise wrong(node, key, what, f"allowed: {allowed}" if hint.endswith("?") else allowed)
        return text

    def show(self, value: str) -> object:
        return value

    def as_json(self) -> Schema:
        return {"enum": list(self.words)}


@dataclass(frozen=True)
class Switch:
    def read(self, node: Node, key: str) -> bool:
        text = scalar(node, key, "true or false")
        if tag_of(node) != "bool" or text.lower() not in ("true", "false"):
            raise wrong(node, key, f"{quoted(text)} is not true or false", "write true or false, without quotes")
        return text.lower() == "true"

    def show(self, value: bool) -> object:
        return value

    def as_json(self) -> Schema:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Version:
    """The version of the profile's format; only 1 exists."""

    def read(self, node: Node, key: str) -> int:
        text = scalar(node, key, "1")
        if tag_of(node) == "int" and text.isdecimal() and int(text[:9]) > 1:
            raise wrong(
                node, key, f"{quoted(text)} is a newer format than this program knows", "upgrade remote-runtime"
            )
        if tag_of(node) != "int" or text != "1":
            raise wrong(node, key, f"{quoted(text)} is not a version of the format", "write version: 1")
        return 1

    def show(self, value: object) -> object:
        return 1

    def as_json(self) -> Schema:
        return {"const": 1}


@dataclass(frozen=True)
class Port:
    """A TCP port, or a word that stands for None."""

    word: str = ""

    def read(self, node: Node, key: str) -> int | None:
        allowed = (f"{self.word} or " if self.word else "") + "a number from 1 to 65535"
        text = scalar(node, key, allowed)
        if self.word and text == self.word and tag_of(node) == "str":
            return None
        if tag_of(node) == "str" and text.isdecimal():
            raise wrong(node, key, f"{quoted(text)} is text, not a number", "remove the quotes")
        port = port_number(text) if tag_of(node) == "int" else None
        if port is None:
            raise wrong(node, key, f"{quoted(text)} is not a port", allowed)
        return port

    def show(self, value: int | None) -> object:
        return (self.word or None) if value is None else value

    def as_json(self) -> Schema:
        schema: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
        return {"anyOf": [{"const": self.word}, schema]} if self.word else schema


def port_number(text: str) -> int | None:
    """The port that ``text`` is, written plainly in decimal; else None."""
    return int(text) if re.fullmatch("[1-9][0-9]{0,4}", text) and int(text) <= 65535 else None


@dataclass(frozen=True)
class Duration:
    """Seconds, written with a unit. ``never`` stands for None where it is allowed."""

    least_s: int = 1
    most_s: int = 86400
    never: bool = False

    def read(self, node: Node, key: str) -> float | None:
        allowed = "a number with a unit such as 15s, 5m, 2h or 1d" + (", or never" if self.never else "")
        text = scalar(node, key, allowed)
        if self.never and text == "never":
            return None
        found = re.fullmatch("([0-9]{1,9})([smhd])", text)
        if not found:
            unit = " has no unit" if re.fullmatch("[0-9.]+", text) else " is not a duration"
            raise wrong(node, key, quoted(text) + unit, allowed)
        seconds = int(found[1]) * _UNITS_S[found[2]]
        if not self.least_s <= seconds <= self.most_s:
            limits = f"from {self.show(self.least_s)} to {self.show(self.most_s)}"
            raise wrong(node, key, f"{quoted(text)} is out of range", limits)
        return float(seconds)

    def show(self, value: float | None) -> object:
        if value is None:
            return "never"
        unit = next(unit for unit in "dhms" if value % _UNITS_S[unit] == 0)
        return f"{int(value) // _UNITS_S[unit]}{unit}"

    def as_json(self) -> Schema:
        return {"type": "string", "pattern": "^(?:[0-9]{1,9}[smhd]" + ("|never" if self.never else "") + ")$"}


_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def scalar(node: Node, key: str, allowed: str) -> str:
    """The text of a single value. Raises ``Wrong`` for lists, mappings and nothing."""
    from yaml.nodes import ScalarNode

    if not isinstance(node, ScalarNode):
        raise wrong(node, key, f"is {kind_of(node)}, not a single value", allowed)
    if is_null(node):
        raise wrong(node, key, "has no value", f"{allowed}; or remove the line")
    return str(node.value)


def mapping_of(node: Node, key: str) -> MappingNode:
    """``node`` as a mapping. Raises ``Wrong`` for anything else."""
    from yaml.nodes import MappingNode

    if not isinstance(node, MappingNode) or tag_of(node) != "map":
        raise wrong(node, key, f"is {kind_of(node)}, not a mapping", "lines of NAME: VALUE, or {NAME: VALUE}")
    return node
