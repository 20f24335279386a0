"""Cloud resources that remote-runtime created, as a table and as lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...core.sanitize import clean_line
from . import format
from .console import MAX_CHARS, fold, table, width

HEADING = "Created by remote-runtime in your projects:"
KINDS = {"instance": "VM", "disk": "disk", "snapshot": "snapshot"}


def resource_table(found: Sequence[Mapping[str, Any]], errors: Mapping[str, Exception]) -> str:
    """``found``: as ``FoundResource.as_document``. ``errors``: of the projects that could not be listed. Empty if there
    is neither."""
    rows = [
        (KINDS[each["kind"]], each["name"], each["zone"] or each["project"], _age(each), _belongs_to(each))
        for each in found
    ]
    head = ("KIND", "NAME", "WHERE", "AGE", "BELONGS TO")
    lines = [HEADING, table(head, rows, max_columns=width())] if rows else []
    for project, error in errors.items():
        lines += fold(f"{project}: can't list its resources: {clean_line(str(error), MAX_CHARS)}")
    if any(each["orphan"] for each in found):
        lines += fold("`remote-runtime down --orphan-resources` deletes what belongs to no runtime here")
    return "\n".join(lines)


def resource_line(each: Mapping[str, Any]) -> str:
    """Such as ``VM my-vm in us-central1-a, 2 d 3 h old, created by up my-vm``."""
    where = each["zone"] or f"project {each['project']}"
    age = f", {_age(each)} old" if each["created_at"] else ""
    return clean_line(f"{KINDS[each['kind']]} {each['name']} in {where}{age}, created by up {each['owner']}", MAX_CHARS)


def result_line(each: Mapping[str, Any]) -> str:
    result = {"deleted": "Deleted", "gone": "Already gone:", "foreign": "Not deleted, its label has changed:"}
    where = each["zone"] or f"project {each['project']}"
    return clean_line(f"{result[each['result']]} {KINDS[each['kind']]} {each['name']} in {where}", MAX_CHARS)


def _age(each: Mapping[str, Any]) -> str:
    return format.duration_since(each["created_at"])


def _belongs_to(each: Mapping[str, Any]) -> str:
    if each["runtime"]:
        return str(each["runtime"])
    if each["in_use_by"]:
        return f"VM {each['in_use_by']}"
    return f"none ({each['owner']} is down)" if each["owner"] else "another computer"
