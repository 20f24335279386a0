"""Agents that do not answer: a real ssh-agent, stopped."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_runtime import profiles
from remote_runtime.commands.doctor.checklist import Checklist
from remote_runtime.commands.doctor.dry_run import DryRun
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import SshError
from remote_runtime.core.model import Finding
from remote_runtime.state.store import LastRun, StateDir
from remote_runtime.targets import open_target
from tests.support.clients.ssh_client import Visitor
from tests.support.servers.sshd import Sshd, running_sshd


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("machine")) as server:
        yield server


class Agent:
    """``address``: its socket. It has the key at ``key``."""

    def __init__(self, address: Path, key: Path) -> None:
        self.address = address
        said = subprocess.run(
            ["ssh-agent", "-s", "-a", str(address)], check=True, capture_output=True, text=True
        ).stdout
        self.pid = int(re.search(r"SSH_AGENT_PID=(\d+)", said)[1])  # type: ignore[index]  # ssh-agent always says it
        environ = {**os.environ, "SSH_AUTH_SOCK": str(address)}
        subprocess.run(["ssh-add", "-q", str(key)], check=True, env=environ)

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


@pytest.fixture
def visitor(server: Sshd, tmp_path: Path) -> Visitor:
    return Visitor(server, tmp_path / "visitor")


@pytest.fixture
def agent(server: Sshd, visitor: Visitor, tmp_path: Path) -> Iterator[Agent]:
    agent = Agent(tmp_path / "agent", server.key_path)
    visitor.environ = {**visitor.environ, "SSH_AUTH_SOCK": str(agent.address)}
    yield agent
    visitor.keys.close()
    with contextlib.suppress(ProcessLookupError):
        agent.go_on()
        os.kill(agent.pid, signal.SIGTERM)


def test_the_key_that_was_accepted_is_offered_again_without_asking_the_agent(visitor: Visitor, agent: Agent) -> None:
    """It is a file, and the agent has another one."""
    agent.stop()
    with pytest.raises(SshError):
        visitor.enter(identity_file=None, within_s=5, reconnect=True).close()
    visitor.enter(within_s=20, reconnect=True).close()
    start = time.monotonic()
    visitor.enter(within_s=1.5).close()
    assert time.monotonic() - start < 1.5


def test_a_silent_agent_does_not_hide_the_key_file(visitor: Visitor, agent: Agent) -> None:
    """The agent's copy of it was accepted; then the agent is locked."""
    visitor.enter().close()
    agent.stop()
    start = time.monotonic()
    visitor.enter(reconnect=True).close()
    assert time.monotonic() - start < 8


def test_doctor_names_an_agent_that_does_not_answer_although_the_login_succeeds(
    visitor: Visitor, agent: Agent, tmp_path: Path
) -> None:
    agent.stop()
    told: list[Finding] = []
    file = tmp_path / "box.yaml"
    file.write_text(
        f"version: 1\ntarget: {{kind: ssh, host: 127.0.0.1, port: {visitor.instance.port}}}\n"
        f"ssh: {{user: {visitor.settings.user}, identity_file: {visitor.settings.identity_file}, "
        "host_key: accept-new}\n"
        "jupyter: {python: /none}\n"
    )
    state = StateDir(tmp_path / "state")
    state.path.mkdir(mode=0o700)
    DryRun(
        profile=profiles.load(str(file), environ=visitor.environ),
        open_target=lambda profile: open_target(profile, state, visitor.environ, visitor.keys),
        checklist=Checklist("box", told.append),
        prompt=visitor.person.ask,
        on_step=visitor.person.tell,
        last_run=LastRun(""),
        deadline=Deadline(30),
    ).run()
    verdicts = {finding.check: finding for finding in told}
    assert verdicts["login"].verdict == "ok"
    assert verdicts["agent"].verdict == "warning"
    assert f"{agent.address} does not answer" in verdicts["agent"].what
    assert "ssh-add -l" in verdicts["agent"].hint
    assert not [finding for finding in told if "remote-runtime doctor" in finding.hint]


def test_an_agent_that_has_the_only_key_and_is_silent_is_named(visitor: Visitor, agent: Agent) -> None:
    agent.stop()
    with pytest.raises(SshError) as caught:
        visitor.enter(identity_file=None, within_s=5).close()
    assert caught.value.code == "no-usable-key"
    assert f"{agent.address} does not respond" in caught.value.why
    assert "ssh-add -l" in caught.value.hint
    assert any("does not answer" in line for line in visitor.person.told), "a person may unlock it"


def test_an_agent_that_is_unlocked_in_time_is_used(visitor: Visitor, agent: Agent) -> None:
    agent.stop()
    threading.Timer(3.0, agent.go_on).start()
    visitor.enter(identity_file=None, within_s=30).close()


def field(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


class FalseAgent:
    """Says ``list``, whatever is asked first, and ``signature`` then; with ``drips``, a byte from time to time."""

    def __init__(self, address: Path, *, list: bytes, signature: bytes = b"", drips: bool = False) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(address))
        self._listener.listen()
        self._answers = [list, signature]
        self._drips = drips
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._say, args=(self._listener.accept()[0],), daemon=True).start()

    def _say(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            for answer in self._answers:
                client.recv(1 << 16)
                client.sendall(answer)
            while self._drips:
                time.sleep(0.1)
                client.sendall(b"x")

    def leave(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


COUNT = (1).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (field(b"\5"), "refuses"),
        (field(b"\x0c\xff\xff\xff\xff"), "no key"),
        (b"\xff\xff\xff\xf0", "not an agent's"),
        (field(b""), "not an agent's"),
        (field(b"\x0c" + COUNT + field(field(b"ssh-ed25519")) + field(b"short")), "no key"),
        (field(b"\x0c" + COUNT + field(field(b"\xff\xfe")) + field(b"no text")), "no key"),
    ],
)
def test_an_answer_that_no_agent_gives_is_named_and_does_no_harm(
    server: Sshd, visitor: Visitor, tmp_path: Path, said: bytes, told: str
) -> None:
    agent = FalseAgent(tmp_path / "false", list=said)
    visitor.environ = {**visitor.environ, "SSH_AUTH_SOCK": str(tmp_path / "false")}
    with pytest.raises(SshError) as caught:
        visitor.enter(identity_file=None).close()
    assert caught.value.code == "no-usable-key"
    assert told in caught.value.why
    assert "ssh-add -l" in caught.value.hint
    visitor.enter().close()
    visitor.keys.close()
    agent.leave()


def test_an_agent_that_drips_does_not_get_more_time(visitor: Visitor, tmp_path: Path) -> None:
    agent = FalseAgent(tmp_path / "false", list=b"\0\0\x10\0\x0c", drips=True)
    visitor.environ = {**visitor.environ, "SSH_AUTH_SOCK": str(tmp_path / "false")}
    visitor.enter(reconnect=True, within_s=30).close()
    assert visitor.keys.silent_agent
    visitor.keys.close()
    agent.leave()


def test_the_file_is_used_where_the_agent_does_not_sign(server: Sshd, visitor: Visitor, tmp_path: Path) -> None:
    """And where there is no file, the agent is the one that is named, not the machine. Comments need not be text."""
    words = server.key_path.with_suffix(".pub").read_text().split()
    keys = field(b"\x0c" + COUNT + field(base64.b64decode(words[1])) + field(b"caf\xe9\x1b[31m"))
    agent = FalseAgent(tmp_path / "false", list=keys, signature=field(b"\5"))
    visitor.environ = {**visitor.environ, "SSH_AUTH_SOCK": str(tmp_path / "false")}
    with pytest.raises(SshError) as caught:
        visitor.enter(identity_file=None).close()
    assert "agent key caf\u00e9: nothing can be signed" in caught.value.why
    assert "rejected" not in caught.value.why
    assert "\x1b" not in caught.value.why
    visitor.enter().close()
    visitor.keys.close()
    agent.leave()
