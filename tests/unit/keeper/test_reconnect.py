"""What a reconnect gives a machine: as much as `up` did."""

from __future__ import annotations

import contextlib
from pathlib import Path

from remote_runtime.core.errors import SshError
from remote_runtime.core.model import Instance, Runtime
from remote_runtime.core.profile import GceTarget, Profile, Timeouts
from remote_runtime.keeper.reconnect import Reconnector
from remote_runtime.keeper.requests import RequestQueue
from remote_runtime.keeper.runtime_record import RuntimeRecord
from remote_runtime.lifecycle.context import BringUpContext
from remote_runtime.lifecycle.resources import Resources
from remote_runtime.state.store import StateDir
from remote_runtime.targets import LoginOptions
from tests.support.fakes import VM, EventLog, FakeProgress, FakeSession, FakeTarget

LIMITS = Timeouts(instance_s=400.0, ssh_s=240.0)
PROFILE = Profile("work", Path("/work.yaml"), GceTarget(instance="my-vm"), timeouts=LIMITS)


class Unreachable(FakeTarget):
    """Its SSH port does not answer. ``given``: the options of the last attempt to connect."""

    def connect(self, instance: Instance, options: LoginOptions) -> FakeSession:
        self.given = options
        requests.terminated = True  # one try is enough
        raise SshError("ssh-unreachable", "no answer")


requests = RequestQueue()


def test_a_reconnect_has_the_limits_of_the_profile_and_waits_for_no_silent_port(tmp_path: Path) -> None:
    events, resources, cloud = EventLog(), Resources(), Unreachable(EventLog(), PROFILE)
    state = StateDir(tmp_path / "state")
    state.path.mkdir()
    resources.instance = VM
    context = BringUpContext(
        client_id="c",
        target=cloud,
        progress=FakeProgress(events),
        prompt=lambda prompt, *, secret, code: "",
        record=events.record,
        remembered_port=None,
    )
    record = RuntimeRecord(state, Runtime(name="work", profile_path="", target={}, client_id="c"))
    with contextlib.closing(Reconnector(resources, requests, record, lambda: context)) as reconnector:
        assert reconnector.run() is None
    resources.close()
    assert 200 < cloud.given.deadline.timeout_s <= LIMITS.ssh_s
    assert cloud.given.reconnect
