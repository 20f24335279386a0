"""Under which name each source arrives, and what a hostile machine may not name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import MachineError, UsageError
from remote_runtime.files import copy_plan
from remote_runtime.files.agent import Agent
from remote_runtime.files.copy_plan import CopyPlan, CopyTarget
from remote_runtime.files.endpoint import parse_endpoint
from remote_runtime.files.transfer import Transfer

FILE = ["file", 3, 0o644, 1, ""]
FOLDER = ["folder", 0, 0o755, 1, ""]


class ScriptedAgent:
    """Answers ``find`` with one match, and ``list`` with these entries."""

    def __init__(self, match: list[object], entries: list[list[object]] | None = None) -> None:
        self._match = match
        self._entries = entries or []

    def call(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"found": [[self._match]]}

    def stream(self, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        yield {"entries": self._entries}


def hostile_plan(typed: str, agent: ScriptedAgent, target: Path) -> CopyPlan:
    found = copy_plan.remote_sources(cast("Agent", agent), [parse_endpoint(typed)])
    to = CopyTarget(os.fsencode(target), b"")
    return copy_plan.plan_download(cast("Agent", agent), found, to, recursive=True)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dir" / "sub").mkdir(parents=True)
    (tmp_path / "dir" / "sub" / "b").write_bytes(b"b")
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "to-a").symlink_to("a")
    return tmp_path


@pytest.mark.parametrize(
    ("sources", "target", "names"),
    [
        (["a"], "there", ["there/a"]),
        (["a"], "new", ["new"]),
        (["a", "to-a"], "there", ["there/a", "there/to-a"]),
        (["dir"], "there", ["there/dir", "there/dir/sub", "there/dir/sub/b"]),
        (["dir/"], "new", ["new", "new/sub", "new/sub/b"]),
        (["dir"], "new/", ["new", "new/sub", "new/sub/b"]),
        (["dir/."], "there", ["there/.", "there/sub", "there/sub/b"]),
        (["./dir/sub/.."], "new", ["new", "new/sub", "new/sub/b"]),
    ],
)
def test_sources_arrive_under_the_names_that_scp_gives_them(
    sources: list[str], target: str, names: list[str], here: Path
) -> None:
    (here / "there").mkdir()
    found = copy_plan.local_sources([parse_endpoint(each) for each in sources])
    to = copy_plan.local_target(parse_endpoint(f"./{target}"), found)
    plan = copy_plan.plan_upload(found, to, recursive=True)
    assert not plan.failures
    root = os.path.relpath(os.fsdecode(plan.root))
    assert [f"{root}/{os.fsdecode(item.target)}".removeprefix("./") for item in plan.items] == names


@pytest.mark.parametrize(
    ("sources", "target"), [(["a"], "no/where"), (["a", "to-a"], "new"), (["a", "to-a"], "a"), (["a"], "new/")]
)
def test_a_target_that_has_to_be_a_folder_is_not_made(sources: list[str], target: str, here: Path) -> None:
    found = copy_plan.local_sources([parse_endpoint(each) for each in sources])
    with pytest.raises(UsageError) as refused:
        copy_plan.local_target(parse_endpoint(f"./{target}"), found)
    assert refused.value.code == "target-folder-missing"


def test_what_cannot_be_copied_is_known_before_and_the_rest_is_copied(here: Path) -> None:
    os.mkfifo(here / "dir" / "pipe")
    (here / "sub").mkdir()
    found = copy_plan.local_sources([parse_endpoint(each) for each in ("a", "absent", "./sub", "dir/sub", "dir")])
    to = CopyTarget(b"/there", b"")
    plan = copy_plan.plan_upload(found, to, recursive=False)
    assert [item.target for item in plan.items] == [b"a"]
    assert [failure.why for failure in plan.failures] == [
        "No such file or directory", *["it is a folder, which takes -r"] * 3
    ]  # fmt: skip
    plan = copy_plan.plan_upload(found, to, recursive=True)
    assert {failure.item.target: failure.why for failure in plan.failures} == {
        b"absent": "No such file or directory",
        b"sub": "another source has the same name",
        b"dir/pipe": "it is a device, pipe or socket",
    }


@pytest.mark.parametrize("name", ["../out", "/etc/cron.d/out", "sub/../../out", "..", "a\0b"])
def test_a_hostile_listing_is_refused_before_a_byte_is_written(name: str, tmp_path: Path) -> None:
    agent = ScriptedAgent(["/home/me/data", ["", *FOLDER], "/home/me/data"], [["good", *FILE], [name, *FILE]])
    target = tmp_path / "target"
    target.mkdir()
    plan = hostile_plan("vm:data", agent, target)
    transfer = Transfer(cast("Agent", agent), local_root=plan.root, remote_root=b"", deadline=Deadline(9))
    with pytest.raises(MachineError) as refused:
        transfer.download(plan.items)
    assert refused.value.code == "unsafe-name"
    assert not os.listdir(target)


def test_a_hostile_listing_cannot_write_through_a_link_that_it_makes(tmp_path: Path) -> None:
    entries: list[list[object]] = [["home", "link", 0, 0o777, 1, "/root"], ["home/.bashrc", *FILE]]
    agent = ScriptedAgent(["/home/me/data", ["", *FOLDER], "/home/me/data"], entries)
    plan = hostile_plan("vm:data", agent, tmp_path)
    transfer = Transfer(cast("Agent", agent), local_root=plan.root, remote_root=b"", deadline=Deadline(9))
    with pytest.raises(MachineError) as refused:
        transfer.download(plan.items)
    assert refused.value.code == "unsafe-name"
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("typed", "match"), [("vm:*.csv", "/home/me/.bashrc"), ("vm:a.csv", "/home/me/b.csv"), ("vm:data/?", "data/..")]
)
def test_a_machine_chooses_only_among_names_that_match(typed: str, match: str, tmp_path: Path) -> None:
    with pytest.raises(MachineError) as refused:
        hostile_plan(typed, ScriptedAgent([match, ["", *FILE], match]), tmp_path)
    assert refused.value.code == "machine-answer-invalid"


@pytest.mark.parametrize(
    "entry",
    [
        ["name", "block", 0, 0, 0, ""], ["name", "file", -1, 0, 0, ""], ["name", "file", "3", 0, 0, ""], ["name"],
        "name", ["\ud83d\ude00", "file", 0, 0, 0, ""],
    ],
)  # fmt: skip
def test_an_entry_of_an_unknown_form_is_refused(entry: list[object], tmp_path: Path) -> None:
    agent = ScriptedAgent(["data", ["", *FOLDER], "/data"], [entry])
    with pytest.raises(MachineError) as refused:
        hostile_plan("vm:data", agent, tmp_path)
    assert refused.value.code == "machine-answer-invalid"
