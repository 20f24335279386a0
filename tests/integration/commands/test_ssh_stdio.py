"""`ssh --stdio` as the ProxyCommand of OpenSSH's client."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from tests.support.environment.world import COMMAND, World
from tests.support.servers.sshd import Sshd


def ssh(world: World, key: Path, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    options = {
        "ProxyCommand": shlex.join([*COMMAND, "ssh", "--stdio", "box"]),
        "UserKnownHostsFile": world.state / "box.hostkeys",
        "HostKeyAlias": "rr-box",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
    }
    words = ["ssh", "-F", "none", "-i", str(key), *(f"-o{name}={value}" for name, value in options.items()), "rr-box"]
    return subprocess.run(
        [*words, *command], env=world.environ, input=stdin, capture_output=True, text=True, timeout=90, check=False
    )


def test_without_a_runtime_it_takes_the_route_of_up_and_leaves_nothing(world: World, sshd: Sshd, key: Path) -> None:
    logins = sshd.logins()
    done = ssh(world, key, "cat; exit 7", stdin="one\ntwo\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, "one\ntwo\n", "")
    assert sshd.logins() == logins + 1, "the client's own"
    assert not world.running()


def test_what_fails_is_on_stderr_with_the_status_of_ssh(world: World, key: Path) -> None:
    (world.home / ".ssh" / "known_hosts").unlink()
    done = world.run("ssh", "--stdio", "box")
    assert (done.code, done.out) == (255, "")
    assert "error[host-key-unknown]" in done.err
    assert world.run("ssh", "--stdio", "no-such-profile").code == 255
    done = world.run("ssh", "--stdio", "box", "--json", "--", "true")
    assert (done.code, done.out) == (255, "")
    assert "error[usage]" in done.err


def test_this_computer_has_no_ssh_server_to_connect_to(world: World) -> None:
    world.profile("here", "version: 1\ntarget: {kind: local}\n")
    done = world.run("ssh", "--stdio", "here")
    assert (done.code, done.out) == (255, "")
    assert "runs on this computer" in done.err
