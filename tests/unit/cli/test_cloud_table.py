"""How cloud resources that remote-runtime created are listed."""

from __future__ import annotations

from typing import Any

from remote_runtime.cli.output.cloud_table import HEADING, resource_line, resource_table, result_line
from remote_runtime.commands.cloud_resources import FoundResource, counted
from remote_runtime.core.creation import CloudResource
from remote_runtime.core.errors import CloudError


def found(kind: Any = "instance", zone: str = "us-central1-a", **more: str) -> FoundResource:
    return FoundResource(CloudResource(kind, "my-l4", "p", zone, "2026-01-01T00:00:00+00:00", "7", "c1"), **more)


def test_the_table_says_to_what_each_belongs_and_how_orphans_are_deleted() -> None:
    rows = [
        found(runtime="new", owner="new"),
        found("disk", owner="old", in_use_by="other"),
        found("snapshot", "", owner="old"),
        found(),
    ]
    denied = CloudError("permission-denied", "No permission to list disks")
    lines = resource_table([each.as_document() for each in rows], {"q": denied}).splitlines()
    assert lines[0] == HEADING
    ends = ["new", "VM other", "none (old is down)", "another computer"]
    assert [line.rstrip().endswith(end) for line, end in zip(lines[2:6], ends, strict=True)] == [True] * 4
    assert lines[4].split()[:3] == ["snapshot", "my-l4", "p"]
    assert "q: can't list its resources: No permission to list disks" in lines[6]
    assert "`remote-runtime down --orphan-resources`" in lines[7]
    assert resource_table([rows[0].as_document()], {}).count("\n") == 2, "without orphans no command"


def test_a_line_names_kind_place_age_and_maker() -> None:
    line = resource_line(found(owner="old").as_document())
    assert line.startswith("VM my-l4 in us-central1-a, ")
    assert line.endswith(" old, created by up old")
    deleted = {**found("snapshot", "").as_document(), "result": "foreign"}
    assert result_line(deleted) == "Not deleted, its label has changed: snapshot my-l4 in project p"


def test_resources_are_counted_by_kind() -> None:
    assert counted([found("disk"), found("disk")]) == "2 disks"
    assert counted([found("disk"), found(), found("snapshot", ""), found()]) == "2 VMs, 1 disk and 1 snapshot"
