"""The shapes that hold any number of others: lists, and mappings with names of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..core.fast_dataclass import fast_dataclass
from .validation_errors import Problem, ValidationError, error_at
from .value_types import Schema, Text, ValueType, require_mapping
from .yaml_nodes import describe_type, join_key, key_value_nodes, yaml_tag

if TYPE_CHECKING:
    from yaml.nodes import Node


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
