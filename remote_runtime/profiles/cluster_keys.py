"""The keys of ``cluster``, and the profiles of its workers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import cluster
from ..core.errors import UsageError
from ..core.profile import Profile
from .search_path import name_error
from .sections import Key, ListOf, Section
from .validation_errors import error_at, expected, quoted
from .value_types import OneOf, Schema, Text, ValueType, WholeNumber, scalar_text
from .yaml_nodes import yaml_tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from yaml.nodes import Node

MAX_WORKERS = 64
RuleProblems = Iterator[tuple[str, str]]


class _Threads(ValueType):
    """``auto`` for None."""

    _number = WholeNumber(1, 4096)

    def parse(self, node: Node, key: str) -> int | None:
        allowed = "`auto` or a number from 1 to 4096"
        text = scalar_text(node, key, allowed)
        if text == "auto":
            return None
        if yaml_tag(node) != "int":
            raise error_at(node, key, expected(allowed, quoted(text)))
        return self._number.parse(node, key)

    def to_yaml(self, value: int | None) -> object:
        return "auto" if value is None else value

    def json_schema(self) -> Schema:
        return {"anyOf": [{"const": "auto"}, self._number.json_schema()]}


def _check_distinct(values: Mapping[str, Any], keys: frozenset[str]) -> RuleProblems:
    names = [group.profile for group in values.get("workers", ())]
    for name in dict.fromkeys(each for each in names if names.count(each) > 1):
        yield "workers", f"expected different profiles, got {quoted(name)} twice"


_WORKER = Section(
    cluster.WorkerGroup,
    (
        Key(
            "profile",
            Text("a profile's name", find_problem=name_error, max_chars=64),
            "A profile, whose machine is a worker: from this folder, else from the search path.",
            required=True,
        ),
    ),
    "The machine of a profile.",
)
CLUSTER = Section(
    cluster.ClusterSettings,
    (
        Key("engine", OneOf(("dask",)), "What distributes the work."),
        Key("workers", ListOf(_WORKER, min_items=1, max_items=MAX_WORKERS), "The workers.", required=True),
        Key("threads", _Threads(), "Threads of each worker. Default: one for each core."),
        Key(
            "memory",
            Text("`auto` or a size such as `8GB`", r"auto|[1-9][0-9]{0,5}(?:MB|GB|TB|MiB|GiB|TiB)"),
            "Memory limit of each worker. Default: that of its machine.",
        ),
    ),
    "A Dask cluster on several machines.",
    (_check_distinct,),
)


def load_workers(profile: Profile, environ: Mapping[str, str], load: Callable[..., Profile]) -> tuple[Profile, ...]:
    """The profiles of the workers. ``load``: as ``profiles.load``. Raises ``UsageError``."""
    return tuple(
        _checked(profile, _load(profile, group.profile, environ, load))
        for group in (profile.cluster.workers if profile.cluster else ())
    )


def _load(profile: Profile, name: str, environ: Mapping[str, str], load: Callable[..., Profile]) -> Profile:
    beside = profile.path.parent / f"{name}.yaml"
    reference = os.path.abspath(beside) if beside.is_file() else name
    return load(reference, environ=environ, cwd=Path(os.path.abspath(profile.path.parent)))


def _checked(profile: Profile, worker: Profile) -> Profile:
    reasons = {
        "it is the profile of the cluster itself": worker.name == profile.name,
        "it has a `cluster` of its own": worker.cluster is not None,
        "`target.create` is not possible for a worker": worker.creation is not None,
        "a demo VM can't be a worker": worker.target.kind == "demo",
    }
    for why in (why for why, applies in reasons.items() if applies):
        raise UsageError("cluster-worker-unfit", f"The profile {worker.name} can't be a worker of {profile.name}", why)
    return worker
