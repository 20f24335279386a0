"""What a reconnect gives a machine: as much as `up` did."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from remote_runtime.core.endings import Timeouts
from remote_runtime.core.errors import SshError
from remote_runtime.core.model import Profile, Runtime
from remote_runtime.core.profile import GceTarget
from remote_runtime.keeper.reconnect import Repair
from remote_runtime.keeper.requests import Orders
from remote_runtime.keeper.runtime_record import Record
from remote_runtime.lifecycle import bring_up
from remote_runtime.state.store import StateDir
from remote_runtime.targets.gce import Machines
from tests.support.fakes import VM, Cloud, Journal, Teller

LIMITS = Timeouts(instance_s=400.0, ssh_s=240.0)
PROFILE = Profile("work", Path("/work.yaml"), GceTarget(instance="my-vm"), timeouts=LIMITS)


class Slow(Cloud):
    """Nobody enters it. ``given``: to whom tried."""

    def connect(self, *args: Any, **given: Any) -> Any:
        self.given = given
        orders.terminated = True  # one try is enough
        raise SshError("ssh-unreachable", "no answer")


orders = Orders()


def test_a_reconnect_has_the_limits_of_the_profile_and_waits_for_no_silent_port(tmp_path: Path) -> None:
    journal, held, cloud = Journal(), bring_up.Held(), Slow(Journal())
    state = StateDir(tmp_path / "state")
    state.path.mkdir()
    held.instance = VM
    story = bring_up.Story(
        profile=PROFILE,
        client_id="c",
        machines=cast("Machines", cloud),
        tell=Teller(journal),
        ask=lambda prompt, *, secret, code: "",
        record=journal.record,
        remembered_port=None,
    )
    record = Record(state, Runtime(name="work", profile_path="", target={}, client_id="c"))
    repair = Repair(held, orders, record, lambda: story, lambda order: False, lambda error: False, lambda at: None)
    assert repair.run() is None
    held.close()
    assert 200 < cloud.given["deadline"].within_s <= LIMITS.ssh_s
    assert cloud.given["wish"].reconnect
