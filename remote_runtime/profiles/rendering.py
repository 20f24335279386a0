"""Writes profiles as documents and as YAML: all keys, or those that the file sets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core.profile import GceTarget, Profile, SshTarget
from .schema import PROFILE
from .yaml_nodes import is_null, parse, read_text

if TYPE_CHECKING:
    from yaml.nodes import Node

DEFAULT_MARK = "  # default"
Document = dict[str, Any]


def to_document(profile: Profile) -> Document:
    """All keys with the values in effect, as a profile writes them; ``***`` for passwords in ``jupyter.packages``, and
    for variables of ``jupyter.env`` whose names suggest a secret."""
    document: Document = PROFILE.to_yaml(profile)
    jupyter = document["jupyter"]
    jupyter["packages"] = [re.sub("(://)[^/@]*@", r"\1***@", package) for package in jupyter["packages"]]
    return document


def to_yaml(profile: Profile) -> str:
    """``to_document`` as YAML text."""
    return _dump(to_document(profile))


def set_document(profile: Profile) -> Document:
    """``to_document`` with the keys that the profile's file sets. Raises as ``load``, and ``OSError``."""
    document: Document = _keys_in(parse(read_text(profile.path)), to_document(profile))
    return document


def set_yaml(profile: Profile) -> str:
    """``set_document`` as YAML text."""
    return _dump(set_document(profile))


def marked_yaml(profile: Profile) -> str:
    """``to_yaml``, with ``DEFAULT_MARK`` behind each key that the profile's file does not set."""
    given, text = set_document(profile), ""
    for name, value in to_document(profile).items():
        if not isinstance(value, dict):
            text += _dump({name: value})
            continue
        text += f"{name}:\n"
        for key, inner in value.items():
            first, *others = _dump({key: inner}).splitlines()
            mark = "" if key in (given.get(name) or {}) else DEFAULT_MARK
            text += "".join(f"  {line}\n" for line in (first + mark, *others))
    return text


def describe_target(profile: Profile) -> str:
    """The machine in a few words."""
    match profile.target:
        case GceTarget(instance=instance, labels=labels, zone=zone):
            name = instance or ", ".join(f"{key}={value}" for key, value in labels.items())
            return f"{name} ({zone})" if zone else name
        case SshTarget(host=host, port=port):
            return f"{host}, port {port}" if port else host
    return "this computer" if profile.target.kind == "local" else "emulated VM"


def _keys_in(node: Node, value: Any) -> Any:
    """``value`` with the keys that ``node`` has."""
    from yaml.nodes import MappingNode

    if not isinstance(node, MappingNode) or not isinstance(value, Mapping):
        return value
    given = [(key.value, child) for key, child in node.value if key.value in value]
    emptied = {name for name, child in given if is_null(child) and isinstance(value[name], Mapping)}
    return {name: _keys_in(child, value[name]) for name, child in given if name not in emptied}


def _dump(document: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
