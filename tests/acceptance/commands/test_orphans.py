"""Servers that were left on a machine: found from here, and ended when somebody says so."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from tests.support.environment.processes import has_ended
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.servers.sshd import Sshd, running_sshd


@pytest.fixture
def box(world: World) -> Iterator[Sshd]:
    """An SSH host, and the profiles ``work`` and ``play`` for it."""
    with running_sshd(world.home / "machine") as sshd:
        (world.home / ".ssh").mkdir(mode=0o700)
        lines = [f"[127.0.0.1]:{sshd.port} {line}\n" for line in sshd.host_keys]
        (world.home / ".ssh" / "known_hosts").write_text("".join(lines))
        for name in ("work", "play"):
            world.profile(
                name,
                f"version: 1\ntarget: {{kind: ssh, host: 127.0.0.1, port: {sshd.port}}}\n"
                f"ssh: {{user: {sshd.user}, identity_file: {sshd.key_path}}}\n",
            )
        yield sshd
        world.end()


def test_a_server_whose_runtime_is_forgotten_is_found_and_ended_on_request(world: World, box: Sshd) -> None:
    world.up("play")
    world.up("work")
    lost, kept = world.look("work")["server"]["pid"], world.look("play")["server"]["pid"]
    keeper = world.keeper("work")
    keeper.kill()
    eventually(lambda: has_ended(keeper))
    for kind in ("json", "port"):
        (world.state / f"work.{kind}").unlink()

    seen = world.run("status", "work", "--all-machines", "--json").document["machines"]
    assert [(machine["profile"], machine["why"]) for machine in seen] == [("work", "")]
    assert sorted((each["pid"], each["runtime"]) for each in seen[0]["servers"]) == sorted(
        [(kept, "play"), (lost, None)]
    )
    shown = world.run("status", "--all-machines")
    assert "`remote-runtime down work --orphans` stops orphaned servers" in shown.out

    refused = world.run("down", "work", "--orphans", "--json")
    assert (refused.code, refused.error["code"]) == (1, "busy")
    assert psutil.pid_exists(lost), "nobody said yes"
    done = world.run("down", "work", "--orphans", "--force", "--json")
    assert done.code == 0, done.err
    assert len(done.document["stopped"][0]["orphans"]) == 1
    eventually(lambda: not psutil.pid_exists(lost))
    assert psutil.pid_exists(kept)
    assert world.look("play")["state"] == "ready"
