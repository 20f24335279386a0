"""A creation that is refused, interrupted, killed or shared ends with one VM or with a clean nothing."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from remote_runtime.demo.gcp_api.values import Delays
from tests.support.clients.page import Page
from tests.support.clients.terminal_user import at_a_terminal
from tests.support.environment.waiting import eventually
from tests.support.environment.world import COMMAND, World
from tests.support.machines.new_vm import ZONES, EmptyProject, empty_project

SLOW = Delays(insert_s=6.0)


def nothing_is_left(world: World, project: EmptyProject) -> None:
    eventually(lambda: project.is_empty and not (world.state / "new.json").exists(), within_s=60)
    assert [command for command in world.running() if "keeper" in command] == []


def test_the_question_is_asked_once_and_ctrl_c_deletes_what_yes_began(world: World) -> None:
    with empty_project(world, delays=SLOW) as project:
        with at_a_terminal([*COMMAND, "up", "new", "--quiet"], world.environ, columns=160) as person:
            seen = person.sees("Create my-l4? [y/N]")
            assert "my-l4 does not exist in project my-project. `up` creates it:" in seen
            assert "g2-standard-8 (8 vCPUs, 32 GB, 1 nvidia-l4), debian-12-bookworm" in seen
            assert "`idle` stops the instance after 2 h without activity" in seen
            person.types("n")
            assert person.waits() == 2
            assert "my-l4 was not created" in person.shown
        nothing_is_left(world, project)
        with at_a_terminal([*COMMAND, "up", "new"], world.environ, columns=160) as person:
            person.sees("Create my-l4? [y/N]")
            person.types("y")
            eventually(lambda: project.places)
            person.types("\x03", enter=False)
            assert person.waits() == 130
            assert "Undone: deleted my-l4" in person.shown
        nothing_is_left(world, project)


def test_a_closed_terminal_deletes_what_was_begun(world: World) -> None:
    with empty_project(world, delays=SLOW) as project:
        command = world.start("up", "new", "--yes")
        eventually(lambda: project.places)
        os.killpg(command.pid, signal.SIGHUP)
        command.communicate(timeout=20)
        nothing_is_left(world, project)


def test_an_up_that_fails_after_the_creation_deletes_the_vm(world: World) -> None:
    with empty_project(world, more="timeouts: {ssh: 3s}\n") as project:
        project.sshd.refuse()
        failed = world.run("up", "new", "--yes", "--json")
        assert failed.code == 1
        assert failed.error["code"] == "iap-unreachable"
        nothing_is_left(world, project)


def test_no_capacity_anywhere_is_told_zone_by_zone(world: World) -> None:
    with empty_project(world) as project:
        project.emulator.cloud.exhausted = dict.fromkeys(ZONES, "STOCKOUT")
        failed = world.run("up", "new", "--yes")
        assert failed.code == 1
        assert "error[no-capacity]: No capacity for my-l4 (g2-standard-8) in 3 zones" in failed.err
        for zone in ZONES:
            assert f"{zone}  no capacity: STOCKOUT" in failed.err
        nothing_is_left(world, project)


@pytest.mark.parametrize("then", ["down", "up"])
def test_a_keeper_that_is_killed_while_it_creates_leaves_what_the_next_command_finds(world: World, then: str) -> None:
    with empty_project(world, delays=Delays(insert_s=3.0)) as project:
        command = world.start("up", "new", "--yes", "--json")
        eventually(lambda: project.places)
        world.keeper("new").kill()
        out, _ = command.communicate(timeout=60)
        assert json.loads(out)["error"]["code"] == "keeper-died"
        (resource,) = world.file("new")["resources"]
        assert (resource["name"], resource["zone"]) == ("my-l4", ZONES[0])
        if then == "down":
            assert world.run("down", "new", "--json").document["stopped"][0]["instance"] == "deleted"
            nothing_is_left(world, project)
            return
        page = Page(world.up("new"))  # without a question: the VM exists
        assert page.run(page.start_kernel(), "print(6*7)") == "42"
        assert project.places == [ZONES[0]]
        assert world.run("down", "new", "--delete-instance", "--yes", "--json").code == 0
        nothing_is_left(world, project)


def test_two_ups_and_another_laptop_at_once_share_one_vm_which_no_reconnect_creates_again(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "laptop").mkdir()
    laptop = World(tmp_path / "laptop")
    with empty_project(world, delays=Delays(insert_s=1.0)) as project:
        text = (world.profiles / "new.yaml").read_text()
        laptop.profile("new", text.replace(", ".join(ZONES), ", ".join(reversed(ZONES))))
        laptop.environ |= {
            key: text for key, text in world.environ.items() if key.startswith(("CLOUDSDK", "REMOTE_RUNTIME_IAP"))
        }
        try:
            commands = [
                world.start("up", "new", "--yes"),
                world.start("up", "new", "--yes"),
                laptop.start("up", "new", "--yes"),
            ]
            ended = [(*command.communicate(timeout=90), command.returncode) for command in commands]
            assert [code for *_, code in ended] == [0, 0, 0], ended
            assert ended[0][0] == ended[1][0]
            (made,) = project.emulator.cloud.instances
            owners = [bool(each.file("new")["resources"]) for each in (world, laptop)]
            assert sorted(owners) == [False, True]
            other = laptop if owners[0] else world
            assert other.run("down", "new", "--delete-instance", "--yes", "--json").error["code"] == "not-created-here"

            project.emulator.cloud.delete(made)
            eventually(lambda: project.is_empty)
            project.sshd.refuse()
            project.sshd.cut()
            eventually(lambda: (world.look("new")["last_error"] or {}).get("code") == "instance-not-found", within_s=60)
            assert project.is_empty, "a reconnect creates nothing"
        finally:
            laptop.end()
