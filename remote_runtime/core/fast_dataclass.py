"""``fast_dataclass``: a frozen dataclass whose class is made in an eighth of the time.

The standard library generates and compiles six methods for every class at every import, which took half of the time in
which `up` and its keeper start. Here all classes share the same six. ``frozen=True`` is written out because type
checkers take the decorator for the standard one, and know from it that the class is frozen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

__all__ = ["fast_dataclass"]


def _init(self: Any, /, *positional: Any, **named: Any) -> None:
    fields = self.__dataclass_fields__
    given = dict(zip(fields, positional, strict=False))
    if len(positional) > len(fields) or given.keys() & named.keys() or named.keys() - fields.keys():
        raise TypeError(f"{type(self).__qualname__} is made of {', '.join(fields)}, each once")
    given.update(named)
    for name, field in fields.items():  # in their order, which vars() keeps
        self.__dict__[name] = given[name] if name in given else _default(self, field)


def _default(self: Any, field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    raise TypeError(f"{type(self).__qualname__} lacks {field.name}")


def _repr(self: Any) -> str:
    shown = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _compared(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, field.name) for field in dataclasses.fields(self) if field.compare)


def _eq(self: Any, other: object) -> bool:
    return _compared(self) == _compared(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _setattr(self: Any, name: str, value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


_SHARED: dict[str, Callable[..., Any]] = {
    "__init__": _init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _setattr,
    "__delattr__": _delattr,
}

if TYPE_CHECKING:
    from dataclasses import dataclass as fast_dataclass  # type checkers learn the fields of each class from it
else:

    def fast_dataclass(*, frozen: Literal[True]) -> Callable[[type[Any]], type[Any]]:
        """Raises ``TypeError`` for a class that has one of the six methods, or a ``__post_init__``, of its own."""

        def make(cls: type[Any]) -> type[Any]:
            if own := vars(cls).keys() & {*_SHARED, "__post_init__"}:
                raise TypeError(f"{cls.__qualname__} has its own {', '.join(sorted(own))}")
            cls.__doc__ = cls.__doc__ or cls.__qualname__  # the standard library would compute a signature
            dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
            for name, method in _SHARED.items():
                setattr(cls, name, method)
            return cls

        return make
