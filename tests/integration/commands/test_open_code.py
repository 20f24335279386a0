"""`open --code`: what a desktop gets to open."""

from __future__ import annotations

import os

import pytest

from tests.support.clients.desktop_programs import Desktop, a_desktop
from tests.support.environment.world import World
from tests.support.faults.faults import ssh_host


@pytest.fixture
def desktop(world: World) -> Desktop:
    made = a_desktop(world.home / "desktop")
    world.environ |= made.environ
    world.environ["PATH"] = os.pathsep.join([str(made.folder), world.environ["PATH"]])
    return made


def test_a_folder_of_the_machine_opens_in_vs_code(world: World, desktop: Desktop) -> None:
    with ssh_host(world) as sshd:
        done = world.run("open", "--code", "box", "/srv/data", "--json")
        assert done.error["code"] == "ssh-config-missing"
        assert done.error["hint"] == "Run `remote-runtime ssh-config box --install`, then try again."
        assert world.run("ssh-config", "box", "--install").code == 0

        done = world.run("open", "--code", "box", "/srv/a b/../data")
        assert done.code == 0, done.err
        assert done.out.strip() == desktop.shown()[0] == "vscode://vscode-remote/ssh-remote+rr-box/srv/data"

        (sshd.home / "a project").mkdir()
        done = world.run("open", "--code", "box", "a project")
        assert done.out.strip() == f"vscode://vscode-remote/ssh-remote+rr-box{sshd.home}/a%20project"
        assert world.run("open", "--code", "box", "no-such-folder", "--json").error["code"] == "usage"
