"""The background process and the commands that speak with it: questions, interruptions, busy and frozen ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.clients.page import Page
from tests.support.clients.terminal_user import at_a_terminal
from tests.support.environment.waiting import eventually
from tests.support.environment.world import COMMAND, World
from tests.support.faults.faults import know
from tests.support.servers.sshd import Sshd, make_key, running_sshd

HERE = "version: 1\ntarget: {kind: local}\n"
PASSPHRASE = "correct horse battery"


@pytest.fixture
def locked(world: World) -> Iterator[Sshd]:
    """An SSH host that accepts only a key with a passphrase, and the profile `locked` for it."""
    with tempfile.TemporaryDirectory(prefix="rr-box-") as directory, running_sshd(Path(directory)) as sshd:
        key = Path(directory) / "locked"
        make_key(key, passphrase=PASSPHRASE)
        sshd.authorize(key.with_suffix(".pub").read_text())
        know(world, sshd)
        world.profile(
            "locked",
            f"version: 1\ntarget: {{kind: ssh, host: 127.0.0.1, port: {sshd.port}}}\n"
            f"ssh: {{user: {sshd.user}, identity_file: {key}}}\n",
        )
        yield sshd


@pytest.fixture
def here(world: World) -> Page:
    """The page of the runtime `here`, which is up on this computer."""
    world.profile("here", HERE)
    return Page(world.up("here"))


# ── questions ──


def test_a_passphrase_is_asked_for_on_the_terminal_and_not_shown(world: World, locked: Sshd) -> None:
    with at_a_terminal([*COMMAND, "up", "locked"], world.environ) as person:
        person.sees("Passphrase for ")
        person.types(PASSPHRASE)
        person.sees("http://localhost:")
        assert person.waits() == 0
        assert PASSPHRASE not in person.shown
    page = Page(re.findall(r"http://localhost:\S+", person.shown)[-1])
    assert page.ask("GET", "/api/kernelspecs")[0] == 200
    assert PASSPHRASE not in world.log("locked")


def test_a_key_that_was_unlocked_once_reconnects_without_a_question(world: World, locked: Sshd) -> None:
    with at_a_terminal([*COMMAND, "up", "locked"], world.environ) as person:
        person.sees("Passphrase for ")
        person.types(PASSPHRASE)
        assert person.waits() == 0
    assert locked.cut() == 1
    eventually(lambda: world.file("locked")["reconnects"] == 1 and world.file("locked")["state"] == "ready")


def test_without_a_terminal_the_passphrase_is_needed(world: World, locked: Sshd) -> None:
    done = world.run("up", "locked", "--json")
    assert done.code == 1
    assert done.error["code"] == "passphrase-needed"
    assert "ssh-agent" in done.error["hint"]
    assert not (world.state / "locked.json").exists()


def test_ctrl_c_at_a_question_interrupts_and_leaves_nothing(world: World, locked: Sshd) -> None:
    with at_a_terminal([*COMMAND, "up", "locked"], world.environ) as person:
        person.sees("Passphrase for ")
        person.types("\x03", enter=False)
        assert person.waits() == 130
        assert "Traceback" not in person.shown
    eventually(lambda: not world.running())
    assert not (world.state / "locked.json").exists()


def test_a_repair_that_needs_a_person_asks_once_and_waits_for_up(world: World, locked: Sshd) -> None:
    ssh = world.home / ".ssh"
    make_key(ssh / "id_ed25519")
    make_key(ssh / "id_ecdsa", "ecdsa", PASSPHRASE)
    locked.authorize_nobody()
    locked.authorize((ssh / "id_ed25519.pub").read_text())
    target = f"{{kind: ssh, host: 127.0.0.1, port: {locked.port}}}"
    world.profile("vm", f"version: 1\ntarget: {target}\nssh: {{user: {locked.user}}}\n")
    url = world.up("vm")
    locked.authorize_nobody()
    locked.authorize((ssh / "id_ecdsa.pub").read_text())
    before = locked.log().count("Connection from")

    locked.cut()

    eventually(lambda: "waiting for an `up`" in world.log("vm"))
    attempts = locked.log().count("Connection from")
    assert attempts > before
    assert world.file("vm")["last_error"]["code"] == "passphrase-needed"
    assert world.file("vm")["state"] == "unreachable"
    with at_a_terminal([*COMMAND, "up", "vm"], world.environ) as person:
        person.sees("Passphrase for ")
        assert locked.log().count("Connection from") == attempts + 1, "it tried again without a user"
        person.types(PASSPHRASE)
        person.sees(url)
        assert person.waits() == 0
    assert world.file("vm")["state"] == "ready"


# ── down ──


def test_busy_kernels_keep_a_runtime_up_unless_a_person_or_force_says_otherwise(world: World, here: Page) -> None:
    cell = working(world, here)
    refused = world.run("down", "here", "--json")
    assert refused.code == 1
    assert refused.error["code"] == "busy"
    assert "--force" in refused.error["hint"]
    with at_a_terminal([*COMMAND, "down", "here"], world.environ) as person:
        person.sees("[y/N]")
        person.types("n")
        assert person.waits() == 1
        assert "error[busy]" in person.shown
    assert world.look("here")["state"] == "ready"
    with at_a_terminal([*COMMAND, "down", "here"], world.environ) as person:
        person.sees("[y/N]")
        person.types("y")
        assert person.waits() == 0
    cell.join(30)
    assert world.running() == []


def test_busy_kernels_that_go_on_are_no_reason_to_ask(world: World, here: Page) -> None:
    cell = working(world, here)
    kept = world.run("down", "here", "--keep-server", "--json")
    assert kept.code == 0, kept.out
    assert kept.document["stopped"][0]["server"] == "kept"
    assert world.run("down", "here").code == 1, "now they would end"
    assert world.run("down", "here", "--force").code == 0
    cell.join(30)


def working(world: World, page: Page) -> threading.Thread:
    """A cell that runs until its kernel ends."""
    kernel, begun = page.start_kernel(), world.home / "begun"
    code = f"import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(600)"
    cell = threading.Thread(target=ignoring_the_end, args=(page, kernel, code))
    cell.start()
    eventually(begun.exists)
    return cell


def ignoring_the_end(page: Page, kernel: str, code: str) -> None:
    with contextlib.suppress(Exception):  # the kernel is ended under it, and the connection with it
        page.run(kernel, code)


# ── up --foreground ──


def foreground(world: World, *arguments: str) -> tuple[subprocess.Popen[str], Page]:
    world.profile("here", HERE)
    command = world.start("up", "here", "--foreground", *arguments)
    assert command.stdout is not None
    return command, Page(command.stdout.readline().strip())


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_runtime_in_the_foreground_is_taken_down_before_the_command_ends(world: World, sign: signal.Signals) -> None:
    command, page = foreground(world)
    assert page.ask("GET", "/api/kernelspecs")[0] == 200
    command.send_signal(sign)
    _, err = command.communicate(timeout=30)
    assert command.returncode == 0, err
    assert not (world.state / "here.json").exists()
    assert world.running() == []


def test_a_foreground_command_that_is_killed_takes_its_runtime_with_it(world: World) -> None:
    command, _ = foreground(world)
    command.kill()
    command.communicate(timeout=10)
    eventually(lambda: not world.running())
    assert not (world.state / "here.json").exists()


def test_a_runtime_in_the_foreground_is_taken_down_with_a_busy_kernel_too(world: World) -> None:
    command, page = foreground(world)
    cell = working(world, page)
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=60)
    cell.join(30)
    assert command.returncode == 0, err
    assert world.running() == []


def test_a_runtime_in_the_foreground_ends_with_down_and_survives_an_up_that_fails(world: World) -> None:
    command, page = foreground(world)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        failed = world.run("up", "here", "--port", str(taken.getsockname()[1]), "--json")
        assert failed.error["code"] == "port-in-use"
    eventually(lambda: world.file("here")["state"] == "ready")
    assert command.poll() is None
    assert page.ask("GET", "/api/kernelspecs")[0] == 200, "the former port serves again"
    assert world.run("down", "here").code == 0
    command.communicate(timeout=30)
    assert command.returncode == 0


# ── a second up ──


def test_an_up_for_another_machine_is_refused_and_changes_nothing(world: World, here: Page) -> None:
    world.profile("here", "version: 1\ntarget: {kind: ssh, host: elsewhere.example}\n")
    refused = world.run("up", "here", "--json")
    assert refused.error["code"] == "busy"
    assert "remote-runtime down here" in refused.error["hint"]
    assert world.look("here")["state"] == "ready"
    assert world.look("here")["reconnects"] == 0


# ── logs ──


def test_logs_of_both_ends_are_told_and_followed_without_the_token(world: World, here: Page) -> None:
    for path in ("/api/nothing", "/api/kernels"):
        here.ask("GET", path)
    own, theirs = world.run("logs", "here"), world.run("logs", "here", "--server")
    assert f"ready on local port {here.host.rpartition(':')[2]}" in own.out
    assert "/api/nothing" in theirs.out
    lines_of_file = world.run("logs", "here", "--json").document["lines"]
    assert [line.split()[-1] for line in lines_of_file] == [line.split()[-1] for line in own.out.splitlines()]
    followed = world.start("logs", "here", "--server", "-f")
    assert followed.stdout is not None
    lines = iter(followed.stdout.readline, "")
    assert any("/api/nothing" in line for line in lines)
    here.ask("GET", "/api/another-nothing")
    assert any("/api/another-nothing" in line for line in lines)
    followed.send_signal(signal.SIGINT)
    rest, err = followed.communicate(timeout=20)
    assert followed.returncode == 130
    assert "Traceback" not in err
    assert here.token not in own.out + theirs.out + rest + err + world.log("here")


def test_an_idle_watch_that_cannot_do_what_it_promised_is_told_by_status(world: World) -> None:
    world.profile("idle", "version: 1\ntarget: {kind: local}\nidle: {after: 1h, do: stop-server}\n")
    world.up("idle")
    directory = Path(world.file("idle")["server"]["directory"])
    watch = int(json.loads((directory / "watchdog.json").read_text())["pid"])
    os.kill(watch, signal.SIGSTOP)  # it looks no more, as one that died

    def says(**seen: object) -> str:
        (directory / "idle.json").write_text(json.dumps({"idle_s": 1.0, "at": time.time(), **seen}))
        runtime = world.look("idle")
        assert runtime["state"] == "ready"
        return str(runtime["server"]["idle"]["failed"])

    assert says() == ""
    assert says(failed="no room") == "no room"
    assert "no room" in world.run("status").out
    assert "has not checked for 60 minutes" in says(at=time.time() - 3600)
    assert says() == ""


# ── frozen ends ──


def test_a_frozen_jupyter_is_told_and_not_killed_and_serves_again(world: World, here: Page) -> None:
    world.profile("here", HERE + "timeouts: {jupyter: 3s}\n")  # so that the first repair gives up soon
    world.up("here")
    kernel = here.start_kernel()
    here.run(kernel, "kept = 42")
    server = psutil.Process(world.file("here")["server"]["pid"])
    server.suspend()
    try:
        told = eventually(lambda: (seen := world.look("here"))["state"] != "ready" and seen)
        assert told["why"]
        assert world.run("status", "here").code == 1
        eventually(lambda: "attempt 1:" in world.log("here"), within_s=90)
    finally:
        server.resume()
    eventually(lambda: world.look("here")["state"] == "ready", within_s=60)
    assert world.file("here")["server"]["pid"] == server.pid
    assert here.run(kernel, "print(kept)") == "42"


def test_a_frozen_keeper_is_told_and_force_ends_it(world: World, here: Page) -> None:
    keeper = world.keeper("here")
    keeper.suspend()
    status, down = world.start("status", "here", "--json"), world.start("down", "here", "--json")
    (seen, _), (refused, _) = status.communicate(timeout=60), down.communicate(timeout=60)
    assert json.loads(seen)["runtimes"][0]["state"] == "unreachable"
    assert "does not respond" in json.loads(seen)["runtimes"][0]["why"]
    assert json.loads(refused)["error"]["code"] == "keeper-unresponsive"
    assert "--force" in json.loads(refused)["error"]["hint"]
    forced = world.run("down", "here", "--force", "--json")
    assert forced.code == 0, forced.err + forced.out
    assert forced.document["stopped"][0]["server"] == "stopped"
    assert world.running() == []
