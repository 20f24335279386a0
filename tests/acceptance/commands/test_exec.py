"""`exec` and `run` as a user runs them, with a real sshd between the code and its output."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.support.clients.terminal_user import at_a_terminal
from tests.support.environment.waiting import eventually
from tests.support.environment.world import COMMAND, World
from tests.support.faults.faults import ssh_host, write_box
from tests.support.servers.sshd import Sshd

COUNT = "import time\nfor number in range(300):\n    print(number, flush=True)\n    time.sleep(0.02)\n"


@pytest.fixture
def sshd(world: World) -> Iterator[Sshd]:
    with ssh_host(world) as server:
        write_box(world, server, f"jupyter: {{python: {sys.executable}}}\n")
        yield server


def test_code_on_the_machine_is_as_code_here(world: World, sshd: Sshd) -> None:
    world.up("box")
    a_cut_loses_no_output(world, sshd)
    input_and_ctrl_c_work_on_a_terminal(world)
    detached_code_is_found_by_its_id(world)
    assert world.run("down", "box").code == 0


def a_cut_loses_no_output(world: World, sshd: Sshd) -> None:
    (world.home / "count.py").write_text(COUNT + "raise SystemExit(6)")
    child = world.start("exec", "box", str(world.home / "count.py"))
    assert child.stdout is not None
    assert child.stdout.readline() == "0\n"
    assert sshd.cut() > 0
    rest, errors = child.communicate(timeout=60)
    assert (child.returncode, errors) == (6, "")
    assert rest.split() == [str(number) for number in range(1, 300)]


def input_and_ctrl_c_work_on_a_terminal(world: World) -> None:
    code = "import sys, time\nprint(input('name? '), sys.stdout.isatty())\ntime.sleep(60)"
    with at_a_terminal([*COMMAND, "exec", "box", "-c", code], world.environ) as person:
        person.sees("name? ")
        person.types("Ada")
        person.sees("Ada True\n")
        person.types("\x03", enter=False)
        person.sees("KeyboardInterrupt")
        assert person.waits() == 128 + signal.SIGINT


def detached_code_is_found_by_its_id(world: World) -> None:
    started = world.run("exec", "box", "--detach", "-c", "print('alone')\nraise SystemExit(3)")
    assert started.code == 0, started.err
    run = started.out.strip()

    def ended() -> bool:
        shown = world.run("outputs", "box", "--run", run, "--json")
        return shown.code == 0 and shown.document["status"] == 3

    eventually(ended, within_s=30.0)
    shown = world.run("outputs", "box", "--run", run)
    assert "alone" in shown.out.splitlines()


def test_run_starts_and_stops_the_runtime_around_the_code(world: World) -> None:
    world.profile("here", f"version: 1\ntarget: {{kind: local}}\njupyter: {{python: {sys.executable}}}\n")
    (world.home / "code.py").write_text("import sys\nprint(sys.argv[1:])\nsys.exit(9)")
    done = world.run("run", "here", str(world.home / "code.py"), "--json", "--", "--keep")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 9, done.err
    assert [event["event"] for event in events] == ["started", "stream", "ended"]
    assert events[1]["text"] == "['--keep']\n"
    assert events[2]["status"] == 9
    assert world.running() == []
