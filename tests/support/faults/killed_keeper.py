"""The keeper of an `up` that creates or moves a VM is killed: what exists then must be known, and go or be used."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from remote_runtime.core.creation import CREATED_BY_LABEL
from tests.support.environment.moving import existing
from tests.support.environment.processes import has_ended
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.machines.new_vm import EmptyProject

Key = tuple[str, str, str]


@dataclass
class KilledUp:
    """``options``: of each `up`. ``before``: what the project had before the first one."""

    world: World
    project: EmptyProject
    name: str
    options: tuple[str, ...]

    def __post_init__(self) -> None:
        self.before = existing(self.project.emulator)

    def kill_when(self, is_moment: Callable[[], bool]) -> None:
        """Starts an `up`, and kills its keeper as soon as ``is_moment``; or not, if the `up` ends before."""
        self.kill_after(lambda: eventually(is_moment, within_s=60))

    def kill_after(self, wait: Callable[[], object]) -> None:
        command = self.world.start("up", self.name, *self.options, "--json")
        with contextlib.suppress(psutil.NoSuchProcess):
            keeper = eventually(self._keeper, within_s=60)
            wait()
            keeper.kill()
            eventually(lambda: has_ended(keeper))
        command.communicate(timeout=90)

    def unknown(self) -> set[Key]:
        """What exists, was made by the `up`, and is neither in the state file nor labelled."""
        path, saved = self.world.state / f"{self.name}.json", set()
        if path.exists():
            resources = json.loads(path.read_text())["runtime"]["resources"]
            saved = {(each["kind"], each["name"], each["zone"]) for each in resources}
        return self.present() - saved - self._labelled()

    def present(self) -> set[Key]:
        """What the `up` has made and exists."""
        return existing(self.project.emulator) - self.before

    def take_down(self) -> set[Key]:
        """What is left after `down --delete-instance`; it refuses where the VM that was there is still the only one."""
        done = self.world.run("down", self.name, "--delete-instance", "--yes", "--json")
        if done.code and done.error["code"] == "not-created-here" and not self.present():
            done = self.world.run("down", self.name, "--json")
        assert done.code == 0, done.out + self.world.log(self.name)
        return self.present()

    def _keeper(self) -> psutil.Process | None:
        """The process that has begun to work on the runtime."""
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError, psutil.NoSuchProcess):
            return self.world.keeper(self.name)
        return None

    def _labelled(self) -> set[Key]:
        cloud = self.project.emulator.cloud
        with cloud.changed:
            return {
                *(("instance", e.vm.name, e.vm.zone) for e in cloud.instances if CREATED_BY_LABEL in e.vm.labels),
                *(("disk", e.name, e.zone) for e in cloud.disks if CREATED_BY_LABEL in e.labels),
                *(("snapshot", e.name, "") for e in cloud.snapshots if CREATED_BY_LABEL in e.labels),
            }


def after(seconds: float) -> Callable[[], object]:
    return lambda: time.sleep(seconds)
