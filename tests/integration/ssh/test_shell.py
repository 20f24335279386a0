"""`remote-runtime ssh`: a real pseudo-terminal around a child that calls ``Session.shell``, and plain streams."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.environment.waiting import eventually
from tests.support.servers.sshd import Sshd, running_sshd

CHILD = """
import json, sys
from pathlib import Path
from remote_runtime import ssh
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.model import Instance
from remote_runtime.core.profile import SshSettings
about = json.loads(sys.argv[1])
def ask(prompt, *, secret, code):
    raise AssertionError(prompt)
deadline = Deadline(20)
request = ssh.ConnectRequest(
    Instance("ssh", "box", address="127.0.0.1", port=about["port"], host_key_name="box"),
    SshSettings(user=about["user"], identity_file=about["key"], host_key="accept-new"),
    deadline, pins=Path(about["pins"]), keys=ssh.Keys(), prompt=ask, progress=lambda text: None,
    environ={"HOME": about["home"]}, respond_by=deadline,
)
with ssh.connect(request) as session:
    sys.exit(session.shell(about["command"]))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("machine")) as server:
        yield server


@pytest.fixture
def argv(server: Sshd, tmp_path: Path) -> list[str]:
    return child_argv(server, tmp_path, None)


def child_argv(server: Sshd, home: Path, command: str | None) -> list[str]:
    about = {
        "port": server.port,
        "user": server.user,
        "key": str(server.key_path),
        "pins": str(home / "pins"),
        "home": str(home),
        "command": command,
    }
    return [sys.executable, "-c", CHILD, json.dumps(about)]


@dataclass
class Terminal:
    """The person's side of a pseudo-terminal whose other side is the child's."""

    process: subprocess.Popen[bytes]
    master: int
    slave: int
    shown: bytes = b""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait_to_see(self, pattern: str, within_s: float = 15.0) -> re.Match[bytes]:
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            found = re.search(pattern.encode(), self.shown)
            if found:
                self.shown = self.shown[found.end() :]
                return found
            if select.select([self.master], [], [], 0.2)[0]:
                self.shown += os.read(self.master, 65536)
        raise AssertionError(f"{pattern!r} was not shown: {self.shown!r}")

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.slave)[3] & termios.ECHO


@pytest.fixture
def terminal(argv: list[str]) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
    process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    terminal = Terminal(process, master, slave)
    yield terminal
    if process.poll() is None:
        process.kill()
    process.wait(10)
    os.close(master)
    os.close(slave)


def test_the_remote_terminal_has_our_size_and_follows_it(terminal: Terminal) -> None:
    terminal.type("PS1=; echo size $(stty size)\n")
    terminal.wait_to_see(r"size 33 111")
    terminal.resize(77, 22)
    terminal.type("for i in 1 2 3 4 5 6 7 8 9; do stty size; sleep 0.1; done\n")
    terminal.wait_to_see(r"22 77")
    terminal.type("exit 7\n")
    assert terminal.process.wait(10) == 7


def interrupt(terminal: Terminal) -> None:
    """Until the prompt is back: a shell that is just starting its command may miss the first Ctrl-C."""
    for _ in range(15):
        terminal.type("\x03")
        with contextlib.suppress(AssertionError):
            terminal.wait_to_see("ready> ", within_s=1.0)
            return
    raise AssertionError(terminal.shown)


def test_keys_go_to_the_machine_and_the_terminal_is_restored(terminal: Terminal) -> None:
    assert not terminal.is_raw()
    terminal.type("echo be$((1+1))fore\n")
    terminal.wait_to_see("be2fore")
    assert terminal.is_raw()
    terminal.type("PS1='re''ady> '\n")
    terminal.wait_to_see("ready> ")
    terminal.type("sh -c 'echo sl$((1+1))ping; sleep 30'\n")
    terminal.wait_to_see("sl2ping")
    interrupt(terminal)
    terminal.type("echo af$((1+1))ter; exit 3\n")
    terminal.wait_to_see("af2ter")
    assert terminal.process.wait(10) == 3
    assert not terminal.is_raw()


def test_a_lost_connection_restores_the_terminal_and_gives_255(server: Sshd, terminal: Terminal) -> None:
    terminal.type("echo re$((1+1))dy\n")
    terminal.wait_to_see("re2dy")
    server.cut()
    assert terminal.process.wait(10) == 255
    assert not terminal.is_raw()


def test_a_termination_restores_the_terminal(terminal: Terminal) -> None:
    terminal.type("echo re$((1+1))dy\n")
    terminal.wait_to_see("re2dy")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.process.wait(10) == 128 + signal.SIGTERM
    assert not terminal.is_raw()


def call(server: Sshd, home: Path, command: str | None, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(child_argv(server, home, command), input=data, capture_output=True, timeout=30)


def test_a_command_has_binary_streams_and_its_status(server: Sshd, tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    done = call(server, tmp_path, "cat; echo oh >&2; exit 9", data)
    assert done.returncode == 9
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    assert done.stderr == b"oh\n"


def test_a_command_that_reads_nothing_ends_though_input_goes_on(server: Sshd, tmp_path: Path) -> None:
    assert call(server, tmp_path, "exit 4", b"x" * (4 << 20)).returncode == 4


def test_a_signal_gives_the_status_that_a_shell_gives(server: Sshd, tmp_path: Path) -> None:
    assert call(server, tmp_path, "kill -KILL $$").returncode == 137


def test_without_a_terminal_the_shell_reads_a_script(server: Sshd, tmp_path: Path) -> None:
    done = call(server, tmp_path, None, b"echo one\nexit 5\n")
    assert (done.returncode, done.stdout) == (5, b"one\n")


def test_a_reader_that_leaves_ends_the_command(server: Sshd, tmp_path: Path) -> None:
    command = [*child_argv(server, tmp_path, "yes")]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(10) == 141


def test_a_reader_that_pauses_does_not_fill_our_memory(server: Sshd, tmp_path: Path) -> None:
    command = [*child_argv(server, tmp_path, "echo ready; yes | head -c 200000000")]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(6) == b"ready\n"
        before, end = resident(process.pid), time.monotonic() + 1.0
        while time.monotonic() < end:
            assert resident(process.pid) < before + 40_000_000
            time.sleep(0.05)
        process.kill()
    eventually(lambda: server.live() == 0)


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
