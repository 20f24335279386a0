"""`ssh --stdio` prompts on the terminal of the SSH client that runs it."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import termios
from pathlib import Path

from tests.support.environment.world import COMMAND, World
from tests.support.faults.faults import know
from tests.support.servers.sshd import make_key, running_sshd


def test_the_passphrase_for_a_jump_host_is_read_from_the_terminal(world: World, tmp_path: Path) -> None:
    key = world.home / "locked"
    make_key(key, passphrase="secret words")
    with running_sshd(tmp_path / "machine") as sshd, running_sshd(tmp_path / "bastion") as bastion:
        bastion.authorize(key.with_suffix(".pub").read_text())
        know(world, sshd, bastion)
        jump = f"{bastion.user}@127.0.0.1:{bastion.port}"
        target = f"{{kind: ssh, host: 127.0.0.1, port: {sshd.port}, jump: ['{jump}']}}"
        world.profile("far", f"version: 1\ntarget: {target}\nssh: {{user: {sshd.user}, identity_file: {key}}}\n")
        words = [*COMMAND, "ssh", "--stdio", "far"]

        without = world.run("ssh", "--stdio", "far")
        assert (without.code, without.out) == (255, "")
        assert "passphrase-needed" in without.err

        ours, theirs = pty.openpty()
        with subprocess.Popen(
            words,
            env=world.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0),
        ) as client:
            os.close(theirs)
            shown = b""
            while b"Passphrase for" not in shown:
                shown += os.read(ours, 1000)
            os.write(ours, b"secret words\n")
            assert client.stdin
            assert client.stdout
            assert client.stdout.read(8) == b"SSH-2.0-"
            client.stdin.close()
            assert client.wait(30) == 0
        os.close(ours)
