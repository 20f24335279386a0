"""Google's client for Compute Engine, of which only the services that are used are imported.

The package imports its hundred services with itself, which takes longer than what we ask of it. Each service and its
types are modules of their own that need none of the others.
"""

from __future__ import annotations

import importlib
import re
import sys
from importlib.util import find_spec, module_from_spec
from typing import Any

PACKAGE = "google.cloud.compute_v1"
_CAMEL_HUMP = re.compile(r"\B(?=[A-Z])")


def import_lazily(name: str = PACKAGE) -> None:
    """From here on the package ``name`` finds a name's module when the name is asked for, and is imported as a whole
    for a name that is not where it is expected. Nothing changes where it was imported before, or is not installed."""
    if name in sys.modules or (spec := find_spec(name)) is None or (loader := spec.loader) is None:
        return
    package = module_from_spec(spec)

    def find_name(attribute: str) -> Any:
        if not attribute[0].isupper():  # a module of the package, which the import system finds
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        try:
            found = getattr(importlib.import_module(_module_of(name, attribute)), attribute)
        except (ImportError, AttributeError):
            vars(package).pop("__getattr__", None)
            loader.exec_module(package)
            return getattr(package, attribute)
        setattr(package, attribute, found)
        return found

    vars(package)["__getattr__"] = find_name
    sys.modules[name] = package


def _module_of(package: str, name: str) -> str:
    """``ZoneOperationsClient`` is in ``services.zone_operations``; what is no client is a type."""
    if name.endswith("Client"):
        return f"{package}.services.{_CAMEL_HUMP.sub('_', name.removesuffix('Client')).lower()}"
    return f"{package}.types.compute"
