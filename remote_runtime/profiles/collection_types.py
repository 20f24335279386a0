"""The shapes that hold any number of others: lists, and mappings with names of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..core.frozen import dataclass
from .validation_errors import Complaint, Wrong, wrong
from .value_types import Schema, Shape, Text, mapping_of
from .yaml_nodes import inside, kind_of, pairs, tag_of

if TYPE_CHECKING:
    from yaml.nodes import Node


@dataclass(frozen=True)
class Listing:
    """A list, read into a tuple."""

    item: Shape
    least: int = 0
    most: int = 100

    def read(self, node: Node, key: str) -> tuple[Any, ...]:
        if tag_of(node) != "seq":
            raise wrong(node, key, f"is {kind_of(node)}, not a list", "write [first, second]")
        if not self.least <= len(node.value) <= self.most:
            raise wrong(node, key, f"has {len(node.value)} entries", f"from {self.least} to {self.most}")
        items: list[Any] = []
        complaints: list[Complaint] = []
        for index, item in enumerate(node.value):
            try:
                items.append(self.item.read(item, f"{key}[{index}]"))
            except Wrong as exc:
                complaints += exc.complaints
        if complaints:
            raise Wrong(complaints)
        return tuple(items)

    def show(self, value: Iterable[Any]) -> object:
        return [self.item.show(item) for item in value]

    def as_json(self) -> Schema:
        return {"type": "array", "items": self.item.as_json(), "minItems": self.least, "maxItems": self.most}


@dataclass(frozen=True)
class MapOf:
    """A mapping with names of its own. ``hide`` says which names have values that are not shown."""

    names: Text
    values: Text
    hide: Callable[[str], bool] = lambda name: False
    most: int = 100

    def read(self, node: Node, key: str) -> dict[str, str]:
        from yaml.nodes import ScalarNode

        given, complaints = pairs(mapping_of(node, key), key)
        if len(given) > self.most:
            raise wrong(node, key, f"has {len(given)} entries", f"at most {self.most}")
        values: dict[str, str] = {}
        for name, (name_node, value_node) in given.items():
            # YAML takes words such as NO and ON for booleans; as a name the word itself is meant.
            as_text = ScalarNode("tag:yaml.org,2002:str", name, name_node.start_mark, name_node.end_mark)
            for shape, part in ((self.names, as_text), (self.values, value_node)):
                try:
                    values[name] = shape.read(part, inside(key, name))
                except Wrong as exc:
                    complaints += exc.complaints
        if complaints:
            raise Wrong(complaints)
        return values

    def show(self, value: Mapping[str, str]) -> object:
        return {name: "***" if self.hide(name) else text for name, text in value.items()}

    def as_json(self) -> Schema:
        names, values = self.names.as_json(), self.values.as_json()
        return {
            "type": "object", "propertyNames": names, "additionalProperties": values, "maxProperties": self.most
        }  # fmt: skip
