"""Imports a module of proto-plus messages without making its classes: each is made when it is first used.

Google's client for Compute Engine has two thousand messages, of which a request uses a few dozen. To make all of them
is two thirds of the CPU time of its import.
"""

from __future__ import annotations

import builtins
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from types import SimpleNamespace
from typing import Any

_FIELDS = ("Field", "RepeatedField", "MapField")
_annotating: list[bool] = []


@contextmanager
def only_annotated() -> Iterator[None]:
    """What is imported here uses messages in annotations alone: they are ``Any`` there, and none is made."""
    _annotating.append(True)
    try:
        yield
    finally:
        _annotating.pop()


def import_messages(spec: ModuleSpec, loader: Loader) -> None:
    """Puts the module of ``spec`` into ``sys.modules``. The body of a class runs when the class is first used, and with
    it those of the messages in its fields; proto-plus registers together what refers to each other. A module with other
    contents is imported as always."""
    module = module_from_spec(spec)
    declared: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {}
    one_at_a_time = threading.RLock()

    def declare(body: Any, name: str, *bases: Any, **keywords: Any) -> None:
        declared[name] = (body, bases, keywords)

    def find(name: str) -> Any:
        if _annotating and name in declared:
            return Any
        with one_at_a_time:
            if name in declared:
                body, bases, keywords = declared.pop(name)
                setattr(module, name, builtins.__build_class__(body, name, *bases, **keywords))
            if name in vars(module):
                return vars(module)[name]
        raise AttributeError(f"module {spec.name!r} has no attribute {name!r}")

    def with_messages(field: Callable[..., Any]) -> Callable[..., Any]:
        def make(*arguments: Any, message: Any = None, **more: Any) -> Any:
            # A name stays a name while its class is being made.
            if isinstance(message, str) and (message in declared or message in vars(module)):
                message = find(message)
            return field(*arguments, message=message, **more)

        return make

    sys.modules[spec.name] = module
    vars(module)["__builtins__"] = own_builtins = {**vars(builtins), "__build_class__": declare}
    loader.exec_module(module)
    own_builtins["__build_class__"] = builtins.__build_class__  # for the classes inside of classes
    proto, package = vars(module).get("proto"), vars(module).get("__protobuf__")
    if proto is None or package is None or any(None in bases for _, bases, _ in declared.values()):
        loader.exec_module(module)
        return
    for name in declared:
        delattr(module, name)
    # Without the list of all messages, which have to be registered together otherwise.
    vars(module)["__protobuf__"] = proto.module(package=package.package)
    fields = {name: with_messages(getattr(proto, name)) for name in _FIELDS}
    vars(module).update({"proto": SimpleNamespace(**{**vars(proto), **fields}), "__getattr__": find})
