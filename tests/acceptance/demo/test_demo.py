"""The newcomer's story: the demo machine, from nothing to a cell and back to nothing."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.clients.page import Page
from tests.support.environment.waiting import free_port
from tests.support.environment.world import World

REFERENCE = (Path(__file__).parents[3] / "docs" / "reference.md").read_text(encoding="utf-8")
LEFT_AFTER_DOWN = {"demo.alive", "demo.busy", "demo.log", "demo.port", "known_hosts", "known_hosts.lock"}


def test_up_gives_one_url_line_and_whoever_knows_only_that_runs_a_cell_both_ways(world: World) -> None:
    done = world.run("up", "demo")

    assert done.code == 0, done.err
    assert re.fullmatch(r"http://localhost:\d+/\?token=[0-9a-f]{48}\n", done.out)
    assert "settings" not in done.err, "there are none of the user's, and none to tell of"
    page = Page(done.out.strip())
    kernel = page.start_kernel()
    assert page.run(kernel, "print(6*7)") == "42"
    assert page.run_bridged(kernel, "print(6*7)") == "42"
    assert page.ask_bridged("GET", "/api/kernels")["status"] == 200


def test_down_leaves_no_process_no_listener_and_only_the_promised_files(world: World) -> None:
    page = Page(world.up("demo"))
    page.start_kernel()

    down = world.run("down", "demo", "--json")

    assert down.code == 0, down.err
    (stopped,) = down.document["stopped"]
    assert stopped == {"name": "demo", "tunnel": True, "server": "stopped", "instance": "gone"}
    assert world.running() == []
    assert world.left_files() == LEFT_AFTER_DOWN
    assert (world.state / "known_hosts").read_text().strip() == ""
    assert world.run("down", "demo", "--json").document["stopped"][0]["server"] == "gone", "down twice is success"
    assert world.run("status", "demo").code == 1


def test_a_vm_that_does_not_exist_is_created_where_there_is_capacity_and_down_leaves_nothing(world: World) -> None:
    up = world.run("up", "demo-new")  # no terminal, no --yes: it costs nothing

    assert up.code == 0, up.err + world.log("demo-new")
    said = re.sub(r"\s+", " ", up.err)
    assert "demo-vm does not exist in project demo. `up` creates it" in said
    assert "It costs nothing: all of it is on this computer" in said
    assert "costs money" not in said
    assert "us-central1-a no capacity: ZONE_RESOURCE_POOL_EXHAUSTED" in said
    assert "us-central1-b created" in said
    page = Page(up.out.strip())
    assert page.run(page.start_kernel(), "print(6*7)") == "42"
    assert world.look("demo-new")["instance"]["via"] == "iap"
    assert world.file("demo-new")["resources"][0]["zone"] == "us-central1-b"

    down = world.run("down", "demo-new", "--json")

    assert down.code == 0, down.err
    assert down.document["stopped"][0]["instance"] == "gone"
    assert world.running() == []
    assert world.left_files() == {name.replace("demo", "demo-new") for name in LEFT_AFTER_DOWN}


def test_every_key_of_the_status_is_in_the_reference(world: World) -> None:
    world.up("demo", "--port-forward", f"{free_port()}:6006")
    json_part = REFERENCE.partition("\n## JSON\n")[2].partition("\n## ")[0]
    documented = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`[^`]+`", json_part))))
    found = keys_in(world.run("status", "demo", "--json").document)
    assert {"last_outage", "attached", "kernelspecs", "project_from", "carried", "received"} <= found
    assert found - documented == set()


def keys_in(value: object) -> set[str]:
    if isinstance(value, dict):
        return {str(key) for key in value}.union(*map(keys_in, value.values()))
    return set().union(*map(keys_in, value)) if isinstance(value, list) else set()


def test_a_second_up_gives_the_same_url_at_once_and_keeps_the_kernels(world: World) -> None:
    url = world.up("demo")
    kernel = Page(url).start_kernel()
    Page(url).run(kernel, "kept = 'here'")

    assert world.up("demo") == url
    assert Page(url).run(kernel, "print(kept)") == "here"
    assert world.look("demo")["server"]["kernels"] == 1


def test_the_port_is_remembered_and_the_files_are_private(world: World) -> None:
    port = free_port()
    world.up("demo", "--port", str(port))
    assert stat.S_IMODE(world.state.stat().st_mode) == 0o700
    for path in world.state.iterdir():
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    world.run("down", "demo")

    assert urlsplit(world.up("demo")).port == port
