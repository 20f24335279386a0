"""Blocks of known keys, read into a dataclass, and blocks whose keys depend on their ``kind``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from ..core.fast_dataclass import fast_dataclass
from .validation_errors import (
    Problem,
    ValidationError,
    closest_match,
    did_you_mean,
    error_at,
    join_with_or,
    line_number,
    quoted,
)
from .value_types import Schema, Text, ValueType, require_mapping
from .yaml_nodes import describe_type, is_null, join_key, key_value_nodes, yaml_tag

if TYPE_CHECKING:
    from yaml.nodes import Node

    # Looks at what a block says: its values by field, and the names of all keys with a value, readable or not.
    # Yields key, what is wrong, what is allowed.
    Rule = Callable[[Mapping[str, Any], frozenset[str]], Iterator[tuple[str, str, str]]]


@fast_dataclass(frozen=True)
class ListOf:
    """A list, read into a tuple."""

    item: ValueType
    min_items: int = 0
    max_items: int = 100

    def parse(self, node: Node, key: str) -> tuple[Any, ...]:
        if yaml_tag(node) != "seq":
            raise error_at(node, key, f"is {describe_type(node)}, not a list", "write [first, second]")
        if not self.min_items <= len(node.value) <= self.max_items:
            raise error_at(node, key, f"has {len(node.value)} entries", f"from {self.min_items} to {self.max_items}")
        items: list[Any] = []
        problems: list[Problem] = []
        for index, item in enumerate(node.value):
            try:
                items.append(self.item.parse(item, f"{key}[{index}]"))
            except ValidationError as exc:
                problems += exc.problems
        if problems:
            raise ValidationError(problems)
        return tuple(items)

    def to_yaml(self, value: Iterable[Any]) -> object:
        return [self.item.to_yaml(item) for item in value]

    def json_schema(self) -> Schema:
        return {
            "type": "array",
            "items": self.item.json_schema(),
            "minItems": self.min_items,
            "maxItems": self.max_items,
        }


@fast_dataclass(frozen=True)
class MappingOf:
    """A mapping with names of its own. ``hide`` says which names have values that are not shown."""

    names: Text
    values: Text
    is_secret: Callable[[str], bool] = lambda name: False
    max_items: int = 100

    def parse(self, node: Node, key: str) -> dict[str, str]:
        from yaml.nodes import ScalarNode

        nodes, problems = key_value_nodes(require_mapping(node, key), key)
        if len(nodes) > self.max_items:
            raise error_at(node, key, f"has {len(nodes)} entries", f"at most {self.max_items}")
        values: dict[str, str] = {}
        for name, (name_node, value_node) in nodes.items():
            # YAML takes words such as NO and ON for booleans; as a name the word itself is meant.
            as_text = ScalarNode("tag:yaml.org,2002:str", name, name_node.start_mark, name_node.end_mark)
            for shape, part in ((self.names, as_text), (self.values, value_node)):
                try:
                    values[name] = shape.parse(part, join_key(key, name))
                except ValidationError as exc:
                    problems += exc.problems
        if problems:
            raise ValidationError(problems)
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
    """One key: its shape, what it is for, and the ``field`` of the block's dataclass that it sets."""

    name: str
    value_type: ValueType
    description: str
    field: str = ""
    required: bool = False

    @property
    def attribute(self) -> str:
        return self.field or self.name


@fast_dataclass(frozen=True)
class NotYet:
    """A key of which this version supports only some values, given as the profile writes them."""

    only: tuple[Any, ...]
    version: str


@fast_dataclass(frozen=True)
class Section:
    """A mapping with known keys, read into ``model``. Keys that are not given keep the model's defaults.

    ``elsewhere``: keys that exist, but in another block, and which. ``not_yet``: by key.
    """

    model: type[Any]
    keys: tuple[Key, ...]
    description: str = ""
    rules: tuple[Rule, ...] = ()
    misplaced: Mapping[str, str] = field(default_factory=dict)
    not_yet: Mapping[str, NotYet] = field(default_factory=dict)

    def parse(self, node: Node, key: str) -> object:
        return self.model(**self.values(node, key))

    def values(self, node: Node, key: str) -> dict[str, Any]:
        """What is given, by the model's fields. Raises ``Wrong`` with all complaints, in the order of lines."""
        mapping = require_mapping(node, key)
        nodes, problems = key_value_nodes(mapping, key)
        values: dict[str, Any] = {}
        problems += [
            self._unknown_key_problem(name, node, key) for name, (node, _) in nodes.items() if not self._key(name)
        ]
        intended = self._intended_keys(nodes)
        for entry in self.keys:
            if entry.name not in nodes:
                if entry.required and entry.name not in intended:
                    problems.append(
                        Problem(line_number(mapping), join_key(key, entry.name), "is missing", entry.description)
                    )
                continue
            value_node = nodes[entry.name][1]
            if is_null(value_node) and self._allows_null(entry):
                continue
            try:
                values[entry.attribute] = self._parse_entry(entry, value_node, join_key(key, entry.name))
            except ValidationError as exc:
                problems += exc.problems
        for rule in self.rules:
            names = {name for name, (_, value) in nodes.items() if not is_null(value)}
            for name, message, allowed in rule(values, frozenset(names | intended)):
                position = nodes[name][0] if name in nodes else mapping
                problems.append(Problem(line_number(position), join_key(key, name), message, allowed))
        if problems:
            raise ValidationError(sorted(problems, key=lambda complaint: complaint.line))
        return values

    def to_yaml(self, value: Any) -> dict[str, object]:
        return {entry.name: self._entry_to_yaml(entry, getattr(value, entry.attribute, None)) for entry in self.keys}

    def default(self, entry: Key) -> object:
        """The model's default for the key; ``dataclasses.MISSING`` if it has none."""
        attribute = next((item for item in dataclasses.fields(self.model) if item.name == entry.attribute), None)
        if attribute is None:
            return dataclasses.MISSING
        return attribute.default if attribute.default_factory is dataclasses.MISSING else attribute.default_factory()

    def default_as_yaml(self, entry: Key) -> object:
        """The default as a profile writes it; ``dataclasses.MISSING`` if there is none."""
        default = self.default(entry)
        return default if default is dataclasses.MISSING else self._entry_to_yaml(entry, default)

    def json_schema(self) -> Schema:
        schema: Schema = {
            "type": "object",
            "additionalProperties": False,
            "properties": {entry.name: self._entry_schema(entry) for entry in self.keys},
            "required": [known.name for known in self.keys if known.required],
        }
        return {"description": self.description} | schema if self.description else schema

    def _key(self, name: str) -> Key | None:
        return next((entry for entry in self.keys if entry.name == name), None)

    def _intended_keys(self, nodes: Mapping[str, object]) -> set[str]:
        """The keys that unknown ones are likely to mean: that they are missing is no second mistake."""
        unknown = [name for name in nodes if not self._key(name) and name not in self.misplaced]
        return {closest_match(name, [entry.name for entry in self.keys]) for name in unknown} - {""}

    def _unknown_key_problem(self, name: str, node: Node, key: str) -> Problem:
        names = [entry.name for entry in self.keys]
        if name in self.misplaced:
            return Problem(line_number(node), join_key(key, name), self.misplaced[name], join_with_or(names))
        hint = did_you_mean(name, names)
        what = "there is no such key" + (f", {hint}" if hint else "")
        return Problem(line_number(node), join_key(key, name), what, f"allowed: {join_with_or(names)}")

    def _allows_null(self, entry: Key) -> bool:
        holds_others = isinstance(entry.value_type, (Section, ListOf, MappingOf))
        return not entry.required and (holds_others or self.default(entry) is None)

    def _parse_entry(self, entry: Key, node: Node, key: str) -> object:
        value = entry.value_type.parse(node, key)
        limit = self.not_yet.get(entry.name)
        if limit and entry.value_type.to_yaml(value) not in limit.only:
            only = join_with_or([_written(word) for word in limit.only])
            raise error_at(node, key, f"not supported by version {limit.version}", f"only {only}")
        return value

    def _entry_to_yaml(self, entry: Key, value: Any) -> object:
        # None is shown by shapes that have a word for it (auto, never); elsewhere it is nothing to YAML as well.
        if value is None and isinstance(entry.value_type, (Section, Text)):
            return None
        return entry.value_type.to_yaml(value)

    def _entry_schema(self, entry: Key) -> Schema:
        limit = self.not_yet.get(entry.name)
        schema = {"enum": list(limit.only)} if limit else entry.value_type.json_schema()
        if self._allows_null(entry) and None not in schema.get("enum", ()):
            schema = {"anyOf": [schema, {"type": "null"}]}
        default = self.default_as_yaml(entry)
        if default is not dataclasses.MISSING and not isinstance(default, dict | None):
            schema = schema | {"default": default}
        return {"description": entry.description} | schema


@fast_dataclass(frozen=True)
class TaggedUnion:
    """A block whose keys depend on its ``kind``."""

    sections: Mapping[str, Section]

    def parse(self, node: Node, key: str) -> object:
        nodes, _ = key_value_nodes(require_mapping(node, key), key)
        if "kind" not in nodes:
            raise error_at(node, join_key(key, "kind"), "is missing", join_with_or(self.sections))
        kind_node = nodes["kind"][1]
        kind = getattr(kind_node, "value", None)
        if not isinstance(kind, str) or kind not in self.sections:
            hint = did_you_mean(kind, self.sections) if isinstance(kind, str) else ""
            shown = quoted(kind) if isinstance(kind, str) else describe_type(kind_node)
            what = f"{shown} is not a kind of target" + (f", {hint}" if hint else "")
            raise error_at(kind_node, join_key(key, "kind"), what, f"allowed: {join_with_or(self.sections)}")
        return self.sections[kind].parse(node, key)

    def to_yaml(self, value: Any) -> object:
        return self.sections[value.kind].to_yaml(value)

    def json_schema(self) -> Schema:
        return {"oneOf": [block.json_schema() for block in self.sections.values()]}


def _written(value: object) -> str:
    if value is None:
        return "null"
    return "[]" if value == [] else str(value)
