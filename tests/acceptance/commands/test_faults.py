"""Each fault ends with its own code, a reason and a next step, and leaves nothing behind."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients.page import Page
from tests.support.environment.mounts import within_mount
from tests.support.environment.waiting import eventually
from tests.support.environment.world import COMMAND, Done, World
from tests.support.faults.faults import (
    CLOUD_FAULTS,
    HURRY,
    MACHINE_FAULTS,
    Fault,
    host_key_has_changed,
    host_key_is_unknown,
    name_of,
    python_writes_megabytes,
    ssh_host,
    write_box,
)
from tests.support.machines.gce_vm import CloudMachine, cloud_machine
from tests.support.servers.sshd import Sshd


@pytest.fixture
def box(world: World) -> Iterator[Sshd]:
    with ssh_host(world) as sshd:
        yield sshd


def fails(world: World, code: str, *, name: str = "box") -> dict[str, str]:
    """`up` fails with this code, says why and what next, and leaves nothing."""
    done = world.run("up", name, "--json")
    assert done.code == (2 if code.startswith("profile-") else 1), done
    error = done.error
    assert error["code"] == code, error
    assert error["what"]
    assert error["hint"], "there is always something to do next"
    assert "Traceback" not in done.err + done.out
    assert not (world.state / f"{name}.json").exists()
    eventually(lambda: not world.running(), what="what ran on the machine ends too")
    return error


# ── the cloud ──


@pytest.mark.parametrize("fault", CLOUD_FAULTS, ids=name_of)
def test_each_fault_of_the_cloud_has_its_code(world: World, fault: Fault[CloudMachine]) -> None:
    with cloud_machine(world, extra=HURRY) as vm:
        fault.put(vm, world)
        error = fails(world, fault.code, name="vm")
        assert fault.words.lower() in json.dumps(error).lower()
        assert vm.status == "TERMINATED"


# ── the machine ──


@pytest.mark.parametrize("fault", MACHINE_FAULTS, ids=name_of)
def test_each_fault_of_the_machine_has_its_code(world: World, box: Sshd, fault: Fault[Sshd]) -> None:
    fault.put(box, world)
    error = fails(world, fault.code)
    box.resume()
    assert fault.words in json.dumps(error)


def test_an_unknown_host_key_is_shown_and_refused(world: World, box: Sshd) -> None:
    host_key_is_unknown(box, world)
    error = fails(world, "host-key-unknown")
    assert any(fingerprint in json.dumps(error) for fingerprint in box.fingerprints())
    assert "accept-new" in error["hint"]


def test_a_changed_host_key_is_refused_even_with_accept_new(world: World, box: Sshd) -> None:
    host_key_has_changed(box, world)
    write_box(world, box, host_key="accept-new")
    error = fails(world, "host-key-changed")
    assert any(fingerprint in json.dumps(error) for fingerprint in box.fingerprints())


def test_a_taken_port_on_the_machine_is_named(world: World, box: Sshd) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        write_box(world, box, HURRY + f"jupyter: {{port: {port}}}\n")
        assert str(port) in json.dumps(fails(world, "jupyter-did-not-start"))


def test_login_files_that_print_do_no_harm(world: World, box: Sshd) -> None:
    for name in (".profile", ".bashrc", ".bash_profile"):
        (box.home / name).write_text('echo "welcome {\\"marker\\": 1}"; printf "\\033[31mred\\n"; echo oops >&2\n')
    page = Page(world.up("box"))
    assert page.ask("GET", "/api/kernelspecs")[0] == 200


def test_a_hostile_machine_that_says_megabytes_is_cut_short(world: World, box: Sshd) -> None:
    python_writes_megabytes(box, world)
    assert len(json.dumps(fails(world, "python-missing"))) < 4000


def test_escape_codes_of_the_machine_never_reach_the_terminal(world: World, box: Sshd) -> None:
    evil = box.home / "python"
    evil.write_text("#!/bin/sh\nprintf '\\033]0;owned\\007\\033[2J' >&2\nexit 3\n")
    evil.chmod(0o755)
    write_box(world, box, HURRY + f"jupyter: {{python: {evil}}}\n")
    done = world.run("up", "box")
    assert done.code == 1
    assert "\x1b" not in done.err + done.out
    assert "Traceback" not in done.err


# ── here ──


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version: 1\ntarget: {kind: local}\nforwrd: {}\n", "forward"),
        ("version: 1\ntarget: {kind: local\n", ":"),
        ("version: 1\ntarget: {kind: local}\nforward: {local_port: many}\n", "local_port"),
        ("version: 1\ntarget: {kind: local}\njupyter: {args: ['--ServerApp.ip=0.0.0.0']}\n", "ip"),
        ("version: 1\ntarget: {kind: local}\njupyter: {args: ['--ServerApp.allow_origin=*']}\n", "origin"),
    ],
)
def test_a_bad_profile_is_refused_with_file_line_and_key(world: World, text: str, words: str) -> None:
    path = world.profile("bad", text)
    error = fails(world, "profile-invalid", name="bad")
    assert f"{path}:" in error["why"]
    assert words in error["why"]


def test_an_unknown_profile_suggests_a_near_one(world: World) -> None:
    world.profile("training", "version: 1\ntarget: {kind: local}\n")
    assert "training" in fails(world, "profile-not-found", name="trainin")["hint"]


def test_a_port_in_use_is_named_with_its_program(world: World, box: Sshd) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        write_box(world, box, HURRY + f"forward: {{local_port: {taken.getsockname()[1]}}}\n")
        assert Path(sys.executable).name[:6] in fails(world, "port-in-use")["why"]


@pytest.mark.parametrize(
    ("befalls", "why"),
    [('head -c 1m /dev/zero > "$1/fill"', "No space left"), ('mount -o remount,ro "$1"', "Read-only")],
)
def test_a_disk_here_that_takes_nothing_is_told(world: World, befalls: str, why: str) -> None:
    world.profile("here", "version: 1\ntarget: {kind: local}\n")
    disk = world.home / "disk"
    disk.mkdir()
    prepare = f'mkdir -m 700 "$1/state"; touch "$1/state/here.alive" "$1/state/here.busy"; {befalls}; shift; exec "$@"'
    begin = [*within_mount(f"-t tmpfs -o size=64k tmpfs {disk}"), "sh", "-c", prepare, "sh", str(disk)]
    environ = {**world.environ, "REMOTE_RUNTIME_STATE_DIR": str(disk / "state")}
    told = [
        json.loads(
            subprocess.run([*begin, *COMMAND, *words, "--json"], env=environ, capture_output=True, text=True).stdout
        )
        for words in (("up", "here"), ("status", "here"), ("doctor",))
    ]
    assert told[0]["error"]["code"] == "state-dir-unusable"
    assert why in told[0]["error"]["why"]
    assert told[1]["runtimes"][0]["state"] == "down"
    (found,) = [each for each in told[2]["findings"] if each["check"] == "state-folder"]
    assert (found["verdict"], found["code"]) == ("failed", "state-dir-unusable")


@pytest.mark.parametrize("content", ['{"schema": 1, "runt', '{"schema": 99, "runtime": {"tool_version": "9.9"}}', ""])
def test_a_state_file_that_cannot_be_read_is_told_and_mended(world: World, box: Sshd, content: str) -> None:
    world.state.mkdir(mode=0o700, exist_ok=True)
    (world.state / "box.json").write_text(content)

    assert world.look("box")["last_error"]["code"] == "state-unreadable"
    assert world.run("status", "box").code == 1
    assert world.run("down", "box", "--json").error["code"] == "state-unreadable"
    Page(world.up("box"))
    assert world.run("down", "box").code == 0


def test_a_deadline_for_the_whole_command_undoes_and_says_so(world: World, box: Sshd) -> None:
    box.freeze()
    write_box(world, box, "")
    done: Done = world.run("up", "box", "--timeout", "3", "--json")
    box.resume()
    assert done.error["code"] in ("deadline-passed", "ssh-unreachable")
    assert world.running() == []
