"""The types of single values: each parses a YAML node, writes a value as YAML holds it, and has a JSON Schema."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..core.fast_dataclass import fast_dataclass
from .validation_errors import did_you_mean, error_at, expected, one_of, quoted
from .yaml_nodes import describe_type, is_null, yaml_tag

if TYPE_CHECKING:
    from yaml.nodes import MappingNode, Node

Schema = dict[str, Any]
CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class ValueType(ABC):
    """``parse`` raises ``ValidationError``; ``to_yaml`` is its inverse; the JSON Schema is of draft 2020-12."""

    @abstractmethod
    def parse(self, node: Node, key: str) -> object: ...

    def to_yaml(self, value: Any) -> object:
        return value

    @abstractmethod
    def json_schema(self) -> Schema: ...


@fast_dataclass(frozen=True)
class Text(ValueType):
    """Text that matches ``pattern`` as a whole; ``allowed`` describes it. ``find_problem(text)`` returns what is wrong,
    or an empty text. A message quotes the text if there is a pattern, unless ``is_shown`` is false: for keys in which
    a secret may be written by mistake."""

    allowed: str = "text"
    pattern: str = ""
    find_problem: Callable[[str], str] | None = None
    max_chars: int = 4096
    is_shown: bool = True

    def parse(self, node: Node, key: str) -> str:
        text = scalar_text(node, key, self.allowed)
        if yaml_tag(node) != "str":
            raise error_at(node, key, expected("text", f"{describe_type(node)}; put it in quotes"))
        if CONTROL_CHARACTER.search(text):
            raise error_at(node, key, expected(self.allowed, "a control character or a line break"))
        if len(text) > self.max_chars:
            raise error_at(node, key, expected(f"at most {self.max_chars} characters", str(len(text))))
        problem = self.find_problem(text) if self.find_problem else ""
        if problem:
            raise error_at(node, key, problem)
        if self.pattern and not re.fullmatch(self.pattern, text):
            raise error_at(node, key, expected(self.allowed, quoted(text) if self.is_shown else "another value"))
        return text

    def json_schema(self) -> Schema:
        schema: Schema = {"type": "string", "maxLength": self.max_chars}
        return schema | {"pattern": f"^(?:{self.pattern})$"} if self.pattern else schema


@fast_dataclass(frozen=True)
class RemotePath(ValueType):
    """A path on the machine, where YAML's bare ``~`` (nothing, to YAML) means the home directory."""

    path: Text

    def parse(self, node: Node, key: str) -> str:
        return "~" if is_null(node) and getattr(node, "value", "") == "~" else self.path.parse(node, key)

    def json_schema(self) -> Schema:
        return {"anyOf": [self.path.json_schema(), {"type": "null"}]}


@fast_dataclass(frozen=True)
class OneOf(ValueType):
    values: tuple[str, ...]

    def parse(self, node: Node, key: str) -> str:
        text = scalar_text(node, key, one_of(self.values))
        if text not in self.values or yaml_tag(node) != "str":
            close = did_you_mean(text, self.values)
            note = f"; {close}" if close else f" ({describe_type(node)})" if yaml_tag(node) != "str" else ""
            raise error_at(node, key, expected(one_of(self.values), quoted(text) + note))
        return text

    def json_schema(self) -> Schema:
        return {"enum": list(self.values)}


@fast_dataclass(frozen=True)
class Boolean(ValueType):
    def parse(self, node: Node, key: str) -> bool:
        text = scalar_text(node, key, "`true` or `false`")
        if yaml_tag(node) != "bool" or text.lower() not in ("true", "false"):
            note = " in quotes" if text.lower() in ("true", "false") else ""
            raise error_at(node, key, expected("`true` or `false`", quoted(text) + note))
        return text.lower() == "true"

    def json_schema(self) -> Schema:
        return {"type": "boolean"}


@fast_dataclass(frozen=True)
class FormatVersion(ValueType):
    """The version of the profile's format; only 1 exists."""

    def parse(self, node: Node, key: str) -> int:
        text = scalar_text(node, key, "`1`")
        if yaml_tag(node) == "int" and text.isdecimal() and int(text[:9]) > 1:
            raise error_at(node, key, expected("`1`", f"{quoted(text)}; upgrade remote-runtime"))
        if yaml_tag(node) != "int" or text != "1":
            raise error_at(node, key, expected("`1`", quoted(text) + " in quotes" * (text == "1")))
        return 1

    def to_yaml(self, value: object) -> object:
        return 1

    def json_schema(self) -> Schema:
        return {"const": 1}


@fast_dataclass(frozen=True)
class Port(ValueType):
    """A TCP port, or ``keyword``, which means None."""

    keyword: str = ""

    def parse(self, node: Node, key: str) -> int | None:
        allowed = (f"`{self.keyword}` or " if self.keyword else "") + "a port from 1 to 65535"
        text = scalar_text(node, key, allowed)
        if self.keyword and text == self.keyword and yaml_tag(node) == "str":
            return None
        if yaml_tag(node) == "str" and text.isdecimal():
            raise error_at(node, key, expected("a number", f"{quoted(text)} in quotes"))
        port = port_number(text) if yaml_tag(node) == "int" else None
        if port is None:
            raise error_at(node, key, expected(allowed, quoted(text)))
        return port

    def to_yaml(self, value: int | None) -> object:
        return (self.keyword or None) if value is None else value

    def json_schema(self) -> Schema:
        schema: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
        return {"anyOf": [{"const": self.keyword}, schema]} if self.keyword else schema


def port_number(text: str) -> int | None:
    """The port that ``text`` writes in decimal, else None."""
    return int(text) if re.fullmatch("[1-9][0-9]{0,4}", text) and int(text) <= 65535 else None


@fast_dataclass(frozen=True)
class WholeNumber(ValueType):
    min: int
    max: int

    def parse(self, node: Node, key: str) -> int:
        allowed = f"a number from {self.min} to {self.max}"
        text = scalar_text(node, key, allowed)
        is_number = yaml_tag(node) == "int" and re.fullmatch("[0-9]{1,9}", text)
        if not is_number or not self.min <= int(text) <= self.max:
            raise error_at(node, key, expected(allowed, quoted(text)))
        return int(text)

    def json_schema(self) -> Schema:
        return {"type": "integer", "minimum": self.min, "maximum": self.max}


@fast_dataclass(frozen=True)
class Size(ValueType):
    """A disk's size in GB, written with a unit. Compute Engine's GB has 1024 MB."""

    min_gb: int
    max_gb: int

    def parse(self, node: Node, key: str) -> int:
        allowed = f"a size such as `100GB`, from {self.min_gb} GB to {self.max_gb // 1024} TB"
        text = scalar_text(node, key, allowed)
        match = re.fullmatch("([0-9]{1,6})(GB|TB)", text)
        size_gb = int(match[1]) * (1024 if match[2] == "TB" else 1) if match else 0
        if not self.min_gb <= size_gb <= self.max_gb:
            raise error_at(node, key, expected(allowed, quoted(text)))
        return size_gb

    def to_yaml(self, value: int | None) -> object:
        return None if value is None else f"{value}GB"

    def json_schema(self) -> Schema:
        return {"type": "string", "pattern": "^[0-9]{1,6}(?:GB|TB)$"}


@fast_dataclass(frozen=True)
class Duration(ValueType):
    """Seconds, written with a unit; ``never`` for None."""

    min_s: int = 1
    max_s: int = 86400
    allow_never: bool = False

    def parse(self, node: Node, key: str) -> float | None:
        allowed = "a duration such as `15s`, `5m`, `2h` or `1d`" + (", or `never`" if self.allow_never else "")
        text = scalar_text(node, key, allowed)
        if self.allow_never and text == "never":
            return None
        match = re.fullmatch("([0-9]{1,9})([smhd])", text)
        if not match:
            note = " without a unit" if re.fullmatch("[0-9.]+", text) else ""
            raise error_at(node, key, expected(allowed, quoted(text) + note))
        seconds = int(match[1]) * _UNITS_S[match[2]]
        if not self.min_s <= seconds <= self.max_s:
            limits = f"from `{self.to_yaml(self.min_s)}` to `{self.to_yaml(self.max_s)}`"
            raise error_at(node, key, expected(f"a duration {limits}", quoted(text)))
        return float(seconds)

    def to_yaml(self, value: float | None) -> object:
        if value is None:
            return "never" if self.allow_never else None
        unit = next(unit for unit in "dhms" if value % _UNITS_S[unit] == 0)
        return f"{int(value) // _UNITS_S[unit]}{unit}"

    def json_schema(self) -> Schema:
        return {"type": "string", "pattern": "^(?:[0-9]{1,9}[smhd]" + ("|never" if self.allow_never else "") + ")$"}


_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def scalar_text(node: Node, key: str, allowed: str) -> str:
    """The text of a single value. Raises ``ValidationError`` for lists, mappings and null."""
    from yaml.nodes import ScalarNode

    if not isinstance(node, ScalarNode):
        raise error_at(node, key, expected(allowed, describe_type(node)))
    if is_null(node):
        raise error_at(node, key, expected(allowed, "no value; remove the line to use the default"))
    return str(node.value)


def require_mapping(node: Node, key: str) -> MappingNode:
    """``node`` as a mapping. Raises ``ValidationError`` for anything else."""
    from yaml.nodes import MappingNode

    if not isinstance(node, MappingNode) or yaml_tag(node) != "map":
        raise error_at(node, key, expected("`key: value` lines", describe_type(node)))
    return node
