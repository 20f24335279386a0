"""Random edits on both sides, and syncs that are cut off at random moments."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remote_runtime.core.errors import RemoteRuntimeError
from remote_runtime.files.agent import Agent
from tests.support.faults.random_edits import RandomEdits, Tree, is_theirs, picture, violations
from tests.support.machines.files_machine import FilesMachine, agent_of
from tests.support.machines.synced_folders import SyncedFolders

ROUNDS = 4


class Killed(BaseException):
    """As SIGKILL: nothing of this program gets to react."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> FilesMachine:
    return FilesMachine(tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="module")
def agent(machine: FilesMachine) -> Iterator[Agent]:
    with agent_of(machine) as agent:
        yield agent


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32), upload=st.booleans())
def test_the_target_equals_the_source_but_for_what_is_listed(
    seed: int, upload: bool, agent: Agent, machine: FilesMachine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    randomness = random.Random(seed)  # noqa: S311  # edits
    folders = SyncedFolders(agent, tmp_path_factory.mktemp("folders"), upload=upload)
    edits = RandomEdits(randomness)
    for _ in range(ROUNDS):
        edits.edit(folders.source, "S", randomness.randint(0, 12))
        edits.edit(folders.target, "T", randomness.choice([0, 0, 1, 4]))
        delete, force = randomness.random() < 0.5, randomness.random() < 0.2
        source, before = picture(folders.source), picture(folders.target)
        if randomness.random() < 0.6:
            cut_off(folders, machine, randomness, delete=delete, force=force)
            edits.edit(folders.source, "S", randomness.randint(0, 2))
            source = picture(folders.source)
            before = {**picture(folders.target), **({} if force else theirs(before))}
        outcome = folders.sync(delete=delete, force=force)
        exceptions = {**outcome.kept, **outcome.failed}
        assert not outcome.failed
        assert violations(source, before, picture(folders.target), exceptions, delete=delete, force=force) == []
        again = folders.sync(delete=delete, force=force)
        assert (again.copied, again.modes, again.deleted, again.failed) == ([], [], [], {})
        assert again.kept == outcome.kept


def cut_off(
    folders: SyncedFolders, machine: FilesMachine, randomness: random.Random, *, delete: bool, force: bool
) -> None:
    """A sync whose connections are cut, or that is killed, at a random moment."""
    steps, kills, at = [0], randomness.random() < 0.5, randomness.randint(1, 12)

    def fault(step: str) -> None:
        steps[0] += 1
        if steps[0] == at:
            machine.cut()
            if kills and step != "progress":  # that is another thread
                raise Killed

    folders.before = fault
    try:
        folders.sync(delete=delete, force=force)
    except (Killed, RemoteRuntimeError):
        pass
    finally:
        folders.before = lambda step: None


def theirs(tree: Tree) -> Tree:
    return {path: value for path, value in tree.items() if is_theirs(value[1])}


@pytest.mark.parametrize("upload", [True, False], ids=["upload", "download"])
def test_a_target_without_edits_is_what_rsync_makes_of_it(upload: bool, agent: Agent, tmp_path: Path) -> None:
    randomness = random.Random(7)  # noqa: S311  # edits
    folders, edits = SyncedFolders(agent, tmp_path, upload=upload), RandomEdits(randomness)
    (tmp_path / "rsync").mkdir()
    for _ in range(6):
        edits.edit(folders.source, "S", 20)
        folders.sync(delete=True)
        source, target = os.fsencode(folders.source) + b"/", os.fsencode(tmp_path / "rsync")
        subprocess.run(["rsync", "-a", "--delete", "--checksum", source, target], check=True)

        assert picture(folders.target) == picture(tmp_path / "rsync")
        assert times(folders.target) == times(tmp_path / "rsync")


def times(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
