"""A background process that may open few files: it serves as many connections as it can, or says why it serves none."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.environment.waiting import eventually
from tests.support.environment.world import COMMAND, World
from tests.support.faults.faults import ssh_host
from tests.support.servers.sshd import Sshd

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no ulimit")


@pytest.fixture
def box(world: World) -> Iterator[Sshd]:
    with ssh_host(world) as sshd:
        yield sshd


def up(world: World, most_files: int) -> subprocess.CompletedProcess[str]:
    limited = ["sh", "-c", f'ulimit -n {most_files}; exec "$@"', "sh", *COMMAND, "up", "box", "--json"]
    return subprocess.run(limited, env=world.environ, stdin=subprocess.DEVNULL, capture_output=True, text=True)


@pytest.mark.usefixtures("box")
def test_few_files_have_their_own_code_and_a_crowd_takes_none_that_the_keeper_needs(world: World) -> None:
    for most in (20, 28):
        error = json.loads(up(world, most).stdout)["error"]
        assert error["code"] == "too-many-files"
        assert "ulimit -n" in error["hint"]

    done = up(world, 40)
    assert done.returncode == 0, done.stdout
    port = world.file("box")["local_port"]
    crowd = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
    try:
        eventually(lambda: world.look("box")["connections"].get("without_a_file"), what="some are sent away")
        status = world.run("status", "box")
        assert status.code == 0, status.out
        assert "ulimit -n" in status.out
    finally:
        for each in crowd:
            each.close()
    assert world.look("box")["state"] == "ready"
    assert "Traceback" not in world.log("box")
