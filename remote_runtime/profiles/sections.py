"""Blocks of known keys, read into a dataclass, and blocks whose keys depend on their ``kind``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from ..core.frozen import dataclass
from .collection_types import Listing, MapOf
from .validation_errors import Complaint, Wrong, line_of, listed, near_miss, nearest, quoted, wrong
from .value_types import Schema, Shape, Text, mapping_of
from .yaml_nodes import inside, is_null, kind_of, pairs

if TYPE_CHECKING:
    from yaml.nodes import Node

    # Looks at what a block says: its values by field, and the names of all keys with a value, readable or not.
    # Yields key, what is wrong, what is allowed.
    Rule = Callable[[Mapping[str, Any], frozenset[str]], Iterator[tuple[str, str, str]]]


@dataclass(frozen=True)
class Key:
    """One key: its shape, what it is for, and the ``field`` of the block's dataclass that it sets."""

    name: str
    shape: Shape
    about: str
    field: str = ""
    required: bool = False

    @property
    def sets(self) -> str:
        return self.field or self.name


@dataclass(frozen=True)
class NotYet:
    """A key of which this version supports only some values, given as the profile writes them."""

    only: tuple[Any, ...]
    version: str


@dataclass(frozen=True)
class Block:
    """A mapping with known keys, read into ``model``. Keys that are not given keep the model's defaults.

    ``elsewhere``: keys that exist, but in another block, and which. ``not_yet``: by key.
    """

    model: type[Any]
    keys: tuple[Key, ...]
    about: str = ""
    rules: tuple[Rule, ...] = ()
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    not_yet: Mapping[str, NotYet] = field(default_factory=dict)

    def read(self, node: Node, key: str) -> object:
        return self.model(**self.values(node, key))

    def values(self, node: Node, key: str) -> dict[str, Any]:
        """What is given, by the model's fields. Raises ``Wrong`` with all complaints, in the order of lines."""
        mapping = mapping_of(node, key)
        given, complaints = pairs(mapping, key)
        values: dict[str, Any] = {}
        complaints += [self._unknown(name, node, key) for name, (node, _) in given.items() if not self._key(name)]
        meant = self._meant(given)
        for known in self.keys:
            if known.name not in given:
                if known.required and known.name not in meant:
                    complaints.append(Complaint(line_of(mapping), inside(key, known.name), "is missing", known.about))
                continue
            value_node = given[known.name][1]
            if is_null(value_node) and self._may_be_empty(known):
                continue
            try:
                values[known.sets] = self._read_one(known, value_node, inside(key, known.name))
            except Wrong as exc:
                complaints += exc.complaints
        for rule in self.rules:
            named = {name for name, (_, value) in given.items() if not is_null(value)}
            for name, what, allowed in rule(values, frozenset(named | meant)):
                at = given[name][0] if name in given else mapping
                complaints.append(Complaint(line_of(at), inside(key, name), what, allowed))
        if complaints:
            raise Wrong(sorted(complaints, key=lambda complaint: complaint.line))
        return values

    def show(self, value: Any) -> dict[str, object]:
        return {known.name: self._show_one(known, getattr(value, known.sets, None)) for known in self.keys}

    def default(self, known: Key) -> object:
        """The model's default for the key; ``dataclasses.MISSING`` if it has none."""
        found = next((item for item in dataclasses.fields(self.model) if item.name == known.sets), None)
        if found is None:
            return dataclasses.MISSING
        return found.default if found.default_factory is dataclasses.MISSING else found.default_factory()

    def shown_default(self, known: Key) -> object:
        """The default as a profile writes it; ``dataclasses.MISSING`` if there is none."""
        default = self.default(known)
        return default if default is dataclasses.MISSING else self._show_one(known, default)

    def as_json(self) -> Schema:
        schema: Schema = {
            "type": "object",
            "additionalProperties": False,
            "properties": {known.name: self._as_json_one(known) for known in self.keys},
            "required": [known.name for known in self.keys if known.required],
        }
        return {"description": self.about} | schema if self.about else schema

    def _key(self, name: str) -> Key | None:
        return next((known for known in self.keys if known.name == name), None)

    def _meant(self, given: Mapping[str, object]) -> set[str]:
        """The keys that unknown ones are likely to mean: that they are missing is no second mistake."""
        unknown = [name for name in given if not self._key(name) and name not in self.elsewhere]
        return {nearest(name, [known.name for known in self.keys]) for name in unknown} - {""}

    def _unknown(self, name: str, node: Node, key: str) -> Complaint:
        names = [known.name for known in self.keys]
        if name in self.elsewhere:
            return Complaint(line_of(node), inside(key, name), self.elsewhere[name], listed(names))
        hint = near_miss(name, names)
        what = "there is no such key" + (f", {hint}" if hint else "")
        return Complaint(line_of(node), inside(key, name), what, f"allowed: {listed(names)}")

    def _may_be_empty(self, known: Key) -> bool:
        holds_others = isinstance(known.shape, (Block, Listing, MapOf))
        return not known.required and (holds_others or self.default(known) is None)

    def _read_one(self, known: Key, node: Node, key: str) -> object:
        value = known.shape.read(node, key)
        limit = self.not_yet.get(known.name)
        if limit and known.shape.show(value) not in limit.only:
            only = listed([_written(word) for word in limit.only])
            raise wrong(node, key, f"not supported by version {limit.version}", f"only {only}")
        return value

    def _show_one(self, known: Key, value: Any) -> object:
        # None is shown by shapes that have a word for it (auto, never); elsewhere it is nothing to YAML as well.
        if value is None and isinstance(known.shape, (Block, Text)):
            return None
        return known.shape.show(value)

    def _as_json_one(self, known: Key) -> Schema:
        limit = self.not_yet.get(known.name)
        schema = {"enum": list(limit.only)} if limit else known.shape.as_json()
        if self._may_be_empty(known) and None not in schema.get("enum", ()):
            schema = {"anyOf": [schema, {"type": "null"}]}
        default = self.shown_default(known)
        if default is not dataclasses.MISSING and not isinstance(default, dict | None):
            schema = schema | {"default": default}
        return {"description": known.about} | schema


@dataclass(frozen=True)
class Variants:
    """A block whose keys depend on its ``kind``."""

    kinds: Mapping[str, Block]

    def read(self, node: Node, key: str) -> object:
        given, _ = pairs(mapping_of(node, key), key)
        if "kind" not in given:
            raise wrong(node, inside(key, "kind"), "is missing", listed(self.kinds))
        kind_node = given["kind"][1]
        kind = getattr(kind_node, "value", None)
        if not isinstance(kind, str) or kind not in self.kinds:
            hint = near_miss(kind, self.kinds) if isinstance(kind, str) else ""
            shown = quoted(kind) if isinstance(kind, str) else kind_of(kind_node)
            what = f"{shown} is not a kind of target" + (f", {hint}" if hint else "")
            raise wrong(kind_node, inside(key, "kind"), what, f"allowed: {listed(self.kinds)}")
        return self.kinds[kind].read(node, key)

    def show(self, value: Any) -> object:
        return self.kinds[value.kind].show(value)

    def as_json(self) -> Schema:
        return {"oneOf": [block.as_json() for block in self.kinds.values()]}


def _written(value: object) -> str:
    if value is None:
        return "null"
    return "[]" if value == [] else str(value)
