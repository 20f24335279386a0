"""The sections of a profile: mappings with known keys, each parsed into a dataclass; lists and mappings of values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, field
from typing import TYPE_CHECKING, Any

from ..core.errors import ProfileProblem
from ..core.fast_dataclass import fast_dataclass
from .validation_errors import (
    ValidationError,
    closest_match,
    did_you_mean,
    error_at,
    expected,
    one_of,
    problem_at,
    quoted,
)
from .value_types import Schema, Text, ValueType, require_mapping
from .yaml_nodes import describe_type, is_null, join_key, key_value_nodes, yaml_tag

if TYPE_CHECKING:
    from yaml.nodes import Node

    # Checks a whole section: gets its values by attribute, and the names of all keys that have a value, valid or not.
    # Yields key and message.
    Rule = Callable[[Mapping[str, Any], frozenset[str]], Iterator[tuple[str, str]]]


@fast_dataclass(frozen=True)
class ListOf(ValueType):
    """A list, parsed into a tuple."""

    item: ValueType
    min_items: int = 0
    max_items: int = 100

    def parse(self, node: Node, key: str) -> tuple[Any, ...]:
        if yaml_tag(node) != "seq":
            raise error_at(node, key, expected("a list such as `[first, second]`", describe_type(node)))
        if not self.min_items <= len(node.value) <= self.max_items:
            limits = f"{self.min_items} to {self.max_items} entries"
            raise error_at(node, key, expected(limits, str(len(node.value))))
        items: list[Any] = []
        problems: list[ProfileProblem] = []
        for index, item in enumerate(node.value):
            try:
                items.append(self.item.parse(item, f"{key}[{index}]"))
            except ValidationError as exc:
                problems += exc.problems
        if problems:
            raise ValidationError(*problems)
        return tuple(items)

    def to_yaml(self, value: Iterable[Any]) -> object:
        return [self.item.to_yaml(item) for item in value]

    def json_schema(self) -> Schema:
        items = self.item.json_schema()
        return {"type": "array", "items": items, "minItems": self.min_items, "maxItems": self.max_items}


@fast_dataclass(frozen=True)
class MappingOf(ValueType):
    """A mapping with the user's own names. ``is_secret(name)``: the value of this name is not shown."""

    names: Text
    values: Text
    is_secret: Callable[[str], bool] = lambda name: False
    max_items: int = 100

    def parse(self, node: Node, key: str) -> dict[str, str]:
        from yaml.nodes import ScalarNode

        nodes, problems = key_value_nodes(require_mapping(node, key), key)
        if len(nodes) > self.max_items:
            raise error_at(node, key, expected(f"at most {self.max_items} entries", str(len(nodes))))
        values: dict[str, str] = {}
        for name, (name_node, value_node) in nodes.items():
            # YAML takes words such as NO and ON for booleans; as a name the word itself is meant.
            as_text = ScalarNode("tag:yaml.org,2002:str", name, name_node.start_mark, name_node.end_mark)
            for text_type, text_node in ((self.names, as_text), (self.values, value_node)):
                try:
                    values[name] = text_type.parse(text_node, join_key(key, name))
                except ValidationError as exc:
                    problems += exc.problems
        if problems:
            raise ValidationError(*problems)
        return values

    def to_yaml(self, value: Mapping[str, str]) -> object:
        return {name: "***" if self.is_secret(name) else text for name, text in value.items()}

    def json_schema(self) -> Schema:
        names, values = self.names.json_schema(), self.values.json_schema()
        return {
            "type": "object", "propertyNames": names, "additionalProperties": values, "maxProperties": self.max_items
        }  # fmt: skip


@fast_dataclass(frozen=True)
class Key:
    """A key of a section. ``field``: the attribute of the section's dataclass, if it has another name."""

    name: str
    value_type: ValueType
    description: str
    field: str = ""
    required: bool = False

    @property
    def attribute(self) -> str:
        return self.field or self.name


@fast_dataclass(frozen=True)
class Section(ValueType):
    """A mapping with known keys, parsed into ``model``. Keys that are not given keep the model's defaults.

    ``misplaced``: keys that belong to another section, with what a message says of them.
    """

    model: type[Any]
    keys: tuple[Key, ...]
    description: str = ""
    rules: tuple[Rule, ...] = ()
    misplaced: Mapping[str, str] = field(default_factory=dict)

    def parse(self, node: Node, key: str) -> object:
        return self.model(**self.values(node, key))

    def values(self, node: Node, key: str) -> dict[str, Any]:
        """The given values by the model's attributes. Raises ``ValidationError`` with all problems, sorted by line."""
        mapping = require_mapping(node, key)
        nodes, problems = key_value_nodes(mapping, key)
        values: dict[str, Any] = {}
        unknown = [name for name in nodes if not any(entry.name == name for entry in self.keys)]
        problems += [self._unknown_key_problem(name, nodes[name][0], key) for name in unknown]
        intended = self._intended_keys(unknown)
        for entry in self.keys:
            if entry.name not in nodes:
                if entry.required and entry.name not in intended:
                    description = entry.description[:1].lower() + entry.description[1:].rstrip(".")
                    missing = f"required key is missing: {description}"
                    problems.append(problem_at(mapping, join_key(key, entry.name), missing, marks_value=False))
                continue
            value_node = nodes[entry.name][1]
            if is_null(value_node) and self._allows_null(entry):
                continue
            try:
                values[entry.attribute] = entry.value_type.parse(value_node, join_key(key, entry.name))
            except ValidationError as exc:
                problems += exc.problems
        given = {name for name, (_, value) in nodes.items() if not is_null(value)}
        for rule in self.rules:
            for name, message in rule(values, frozenset(given | intended)):
                position = nodes[name][0] if name in nodes else mapping
                problems.append(problem_at(position, join_key(key, name), message, marks_value=name in nodes))
        if problems:
            raise ValidationError(*sorted(problems, key=lambda problem: (problem.line, problem.column)))
        return values

    def to_yaml(self, value: Any) -> Any:
        if value is None:
            return None
        return {entry.name: entry.value_type.to_yaml(getattr(value, entry.attribute, None)) for entry in self.keys}

    def default(self, entry: Key) -> object:
        """The model's default for the key; ``dataclasses.MISSING`` if it has none."""
        attribute = next((item for item in dataclasses.fields(self.model) if item.name == entry.attribute), None)
        if attribute is None:
            return MISSING
        return attribute.default if attribute.default_factory is MISSING else attribute.default_factory()

    def default_as_yaml(self, entry: Key) -> object:
        default = self.default(entry)
        return MISSING if default is MISSING else entry.value_type.to_yaml(default)

    def json_schema(self) -> Schema:
        schema: Schema = {
            "type": "object",
            "additionalProperties": False,
            "properties": {entry.name: self._entry_schema(entry) for entry in self.keys},
            "required": [entry.name for entry in self.keys if entry.required],
        }
        return {"description": self.description} | schema if self.description else schema

    def _intended_keys(self, unknown: Iterable[str]) -> set[str]:
        """The keys that misspelt ones probably mean: that they are missing is no second mistake."""
        names = [entry.name for entry in self.keys]
        return {closest_match(name, names) for name in unknown if name not in self.misplaced} - {""}

    def _unknown_key_problem(self, name: str, node: Node, key: str) -> ProfileProblem:
        names = [entry.name for entry in self.keys]
        if name in self.misplaced:
            return problem_at(node, join_key(key, name), self.misplaced[name])
        hint = did_you_mean(name, names)
        message = f"unknown key, {hint}" if hint else f"unknown key; expected {one_of(names)}"
        return problem_at(node, join_key(key, name), message)

    def _allows_null(self, entry: Key) -> bool:
        holds_others = isinstance(entry.value_type, (Section, ListOf, MappingOf))
        return not entry.required and (holds_others or self.default(entry) is None)

    def _entry_schema(self, entry: Key) -> Schema:
        schema = entry.value_type.json_schema()
        if self._allows_null(entry) and None not in schema.get("enum", ()):
            schema = {"anyOf": [schema, {"type": "null"}]}
        default = self.default_as_yaml(entry)
        if default is not MISSING and not isinstance(default, dict | None):
            schema = schema | {"default": default}
        return {"description": entry.description} | schema


@fast_dataclass(frozen=True)
class TaggedUnion(ValueType):
    """A section whose keys depend on its ``kind``."""

    sections: Mapping[str, Section]

    def parse(self, node: Node, key: str) -> object:
        nodes, _ = key_value_nodes(require_mapping(node, key), key)
        if "kind" not in nodes:
            missing = f"required key is missing; expected {one_of(self.sections)}"
            raise ValidationError(problem_at(node, join_key(key, "kind"), missing, marks_value=False))
        kind_node = nodes["kind"][1]
        kind = getattr(kind_node, "value", None)
        if not isinstance(kind, str) or kind not in self.sections:
            hint = did_you_mean(kind, self.sections) if isinstance(kind, str) else ""
            shown = quoted(kind) if isinstance(kind, str) else describe_type(kind_node)
            message = expected(one_of(self.sections), shown + (f"; {hint}" if hint else ""))
            raise error_at(kind_node, join_key(key, "kind"), message)
        return self.sections[kind].parse(node, key)

    def to_yaml(self, value: Any) -> object:
        return self.sections[value.kind].to_yaml(value)

    def json_schema(self) -> Schema:
        return {"oneOf": [section.json_schema() for section in self.sections.values()]}
