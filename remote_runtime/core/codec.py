"""Values of ``core`` as JSON objects and back, by the annotations of their fields.

For private files and pipes of this computer: ``to_json`` reveals secrets.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from .secret import Secret

T = TypeVar("T")


def to_json(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: to_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, Secret):
        return value.reveal()
    return str(value) if isinstance(value, Path) else value


def from_json(kind: type[T], document: Any) -> T:
    """The value of the dataclass ``kind`` that ``to_json`` described; missing fields get their defaults.

    Raises ``TypeError`` for an unknown field and for a missing one without a default, ``TypeError`` or
    ``AttributeError`` for a document of another shape. Texts and numbers are taken as they are.
    """
    value: T = _decode(kind, document)
    return value


def _decode(kind: Any, document: Any) -> Any:
    if isinstance(kind, types.UnionType):
        kind = _member(typing.get_args(kind), document)
    if isinstance(kind, type) and is_dataclass(kind):
        kinds = _field_types(kind)
        return kind(**{name: _decode(kinds.get(name), item) for name, item in document.items()})
    if isinstance(document, list):
        item_kind = typing.get_args(kind)[0] if kind else None
        return tuple(_decode(item_kind, item) for item in document)
    return kind(document) if kind in (Secret, Path) else document


def _member(kinds: tuple[Any, ...], document: Any) -> Any:
    """The member of a union that ``document`` describes. Dataclasses of one union differ in the default of ``kind``."""
    if isinstance(document, list):
        return next(kind for kind in kinds if typing.get_origin(kind) is tuple)
    if isinstance(document, dict) and "kind" in document:
        return next((kind for kind in kinds if getattr(kind, "kind", "") == document["kind"]), kinds[0])
    return None if document is None else kinds[0]


@functools.cache
def _field_types(kind: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind)
