"""Each fault ends with its own code, a reason and a next step, and leaves nothing behind."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.clients.page import Page
from tests.support.environment.mounts import within_mount
from tests.support.environment.waiting import eventually
from tests.support.environment.world import COMMAND, Done, World
from tests.support.faults.faults import (
    HURRY,
    api_is_unreachable,
    credentials_are_missing,
    name_is_mistyped,
    quota_is_used_up,
    ssh_host,
    start_is_forbidden_by_the_profile,
    vm_is_forbidden,
    vm_start_is_forbidden,
    write_box,
    zone_is_exhausted,
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


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (name_is_mistyped, "instance-not-found", "my-vm"),
        (credentials_are_missing, "no-credentials", "gcloud auth application-default login"),
        (api_is_unreachable, "cloud-unreachable", "127.0.0.1"),
        (vm_is_forbidden, "permission-denied", "compute.instances.get"),
        (vm_start_is_forbidden, "permission-denied", "compute.instances.start"),
        (start_is_forbidden_by_the_profile, "instance-stopped", "start"),
        (zone_is_exhausted, "instance-not-startable", "zone"),
        (quota_is_used_up, "quota-exceeded", "quota"),
    ],
)
def test_each_fault_of_the_cloud_has_its_code(
    world: World, fault: Callable[[CloudMachine, World], None], code: str, words: str
) -> None:
    with cloud_machine(world, extra=HURRY) as vm:
        fault(vm, world)
        error = fails(world, code, name="vm")
        assert words.lower() in json.dumps(error).lower()
        assert vm.status == "TERMINATED"


# ── the way in ──


def test_a_refused_connection_is_ssh_unreachable(world: World, box: Sshd) -> None:
    box.refuse()
    assert "refused" in fails(world, "ssh-unreachable")["why"]


def test_a_silent_server_is_ssh_unreachable_within_the_profiles_limit(world: World, box: Sshd) -> None:
    box.freeze()
    fails(world, "ssh-unreachable")
    box.resume()


def test_a_wrong_key_is_no_usable_key(world: World, box: Sshd) -> None:
    (box.directory / "authorized_keys").write_text("")
    fails(world, "no-usable-key")


def test_an_unknown_host_key_is_shown_and_refused(world: World, box: Sshd) -> None:
    (world.home / ".ssh" / "known_hosts").unlink()
    error = fails(world, "host-key-unknown")
    assert any(fingerprint in json.dumps(error) for fingerprint in box.fingerprints())
    assert "accept-new" in error["hint"]


def test_a_changed_host_key_is_refused_even_with_accept_new(world: World, box: Sshd) -> None:
    box.rotate_host_keys()
    write_box(world, box, host_key="accept-new")
    error = fails(world, "host-key-changed")
    assert any(fingerprint in json.dumps(error) for fingerprint in box.fingerprints())


# ── the machine ──


def test_a_machine_without_python_is_told_so(world: World, box: Sshd) -> None:
    write_box(world, box, HURRY + "jupyter: {python: /nowhere/python3}\n")
    assert "/nowhere/python3" in json.dumps(fails(world, "python-missing"))


def test_no_jupyter_and_install_never_is_jupyter_missing(world: World, box: Sshd) -> None:
    write_box(world, box, HURRY + "jupyter: {python: /usr/bin/python3, install: never}\n")
    fails(world, "jupyter-missing")


def test_a_jupyter_that_dies_at_start_shows_the_end_of_its_log(world: World, box: Sshd) -> None:
    write_box(world, box, HURRY + "jupyter: {args: ['--ServerApp.iopub_data_rate_limit=lots']}\n")
    assert "iopub_data_rate_limit" in json.dumps(fails(world, "jupyter-did-not-start"))


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
    evil = box.home / "python"
    evil.write_text("#!/bin/sh\ncat >/dev/null &\nhead -c 40000000 /dev/zero | tr '\\0' x\n")
    evil.chmod(0o755)
    write_box(world, box, HURRY + f"jupyter: {{python: {evil}}}\n")
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
