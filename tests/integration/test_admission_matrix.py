"""Every way to a machine, to be let in, and to know it: found, entered, and a command run."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from remote_runtime import ssh
from tests.support.doorway import NAME, Way, doorway
from tests.support.ways_in import KNOWN_BY, LET_IN, know, let_in_by


@pytest.mark.parametrize("known_by", KNOWN_BY)
@pytest.mark.parametrize("let_in", LET_IN)
@pytest.mark.parametrize("connect", get_args(Way))
def test_the_machine_is_entered(tmp_path: Path, connect: Way, let_in: str, known_by: str) -> None:
    with doorway(tmp_path, connect=connect) as door, let_in_by(let_in, door):
        know(door, known_by)
        found = door.find()
        assert found.via == connect
        session = door.enter(found)
        assert door.run(session, "echo", "inside") == "inside"
        session.close()
        through_relay = {asked.query["instance"] for asked in door.relay.asked}
        assert through_relay == ({NAME} if connect == "iap" else set())
        added = [key.by for key in door.keys]
        assert added == {"metadata key": ["metadata"], "OS Login": ["os-login"]}.get(let_in, [])
        pinned = ssh.show_pins(door.machines.state.pins, f"compute.{door.vm.id}")
        assert bool(pinned) == (known_by != "gcloud's pin"), "gcloud's pin is enough"
