"""Which key is offered, what is asked of the person, and how refusals are explained."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from paramiko.common import AUTH_FAILED, AUTH_PARTIALLY_SUCCESSFUL, AUTH_SUCCESSFUL
from paramiko.server import InteractiveQuery

from remote_runtime import ssh
from remote_runtime.errors import SshError
from remote_runtime.model import Instance
from tests.support.entering import Person, Visitor
from tests.support.sshd import Sshd, make_key, running_sshd, wait_for


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("machine")) as server:
        yield server


@pytest.fixture
def visitor(server: Sshd, tmp_path: Path) -> Visitor:
    return Visitor(server, tmp_path / "visitor")


@pytest.fixture
def agent(visitor: Visitor, tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment with a real ssh-agent."""
    path = tmp_path / "agent"
    said = subprocess.run(["ssh-agent", "-s", "-a", str(path)], check=True, capture_output=True, text=True).stdout
    pid = int(re.search(r"SSH_AGENT_PID=(\d+)", said)[1])  # type: ignore[index]  # ssh-agent always says it
    visitor.environ = {**visitor.environ, "SSH_AUTH_SOCK": str(path)}
    yield {**os.environ, "SSH_AUTH_SOCK": str(path)}
    os.kill(pid, signal.SIGTERM)


def locked_key(server: Sshd, path: Path, passphrase: str, *, known: bool = True) -> str:
    make_key(path, passphrase=passphrase)
    if known:
        server.authorize(path.with_name(path.name + ".pub").read_text())
    return str(path)


def refused(visitor: Visitor, **settings: Any) -> SshError:
    with pytest.raises(SshError) as caught:
        visitor.enter(**settings).close()
    return caught.value


def test_a_locked_key_asks_for_its_passphrase_until_it_fits(server: Sshd, visitor: Visitor) -> None:
    path = locked_key(server, visitor.home / ".ssh" / "id_ed25519", "open sesame")
    visitor.person = Person(["wrong", "open sesame"])
    visitor.enter(identity_file=None).close()
    assert [code for _, _, code in visitor.person.asked] == ["passphrase-needed"] * 2
    assert all(secret and "id_ed25519" in prompt for prompt, secret, _ in visitor.person.asked)
    assert "open sesame" not in repr(vars(visitor.keys)) + path


def test_an_unlocked_key_is_remembered_for_a_reconnect(server: Sshd, visitor: Visitor) -> None:
    path = locked_key(server, visitor.home / "work", "secret")
    visitor.person = Person(["secret"])
    visitor.enter(identity_file=path).close()
    visitor.enter(identity_file=path).close()
    assert len(visitor.person.asked) == 1


def test_a_locked_key_with_nobody_there_is_refused_by_its_code(server: Sshd, visitor: Visitor) -> None:
    path = locked_key(server, visitor.home / "work", "secret")
    assert refused(visitor, identity_file=path).code == "passphrase-needed"


def test_three_wrong_passphrases_end_it(server: Sshd, visitor: Visitor) -> None:
    path = locked_key(server, visitor.home / "work", "secret")
    visitor.person = Person(["a", "b", "c", "secret"])
    assert refused(visitor, identity_file=path).code == "passphrase-needed"
    assert len(visitor.person.asked) == 3


@pytest.mark.parametrize("with_public_file", [True, False])
def test_nobody_is_asked_for_a_key_that_the_machine_does_not_know(
    server: Sshd, visitor: Visitor, *, with_public_file: bool
) -> None:
    path = locked_key(server, visitor.home / "work", "secret", known=False)
    if not with_public_file:
        Path(path + ".pub").unlink()
    visitor.person = Person(["secret"])
    error = refused(visitor, identity_file=path)
    assert error.code == "no-usable-key"
    assert path in error.why
    assert not visitor.person.asked


def test_a_key_that_needs_no_passphrase_is_tried_before_a_locked_one(server: Sshd, visitor: Visitor) -> None:
    locked_key(server, visitor.home / ".ssh" / "google_compute_engine", "secret")
    make_key(visitor.home / ".ssh" / "id_ecdsa", "ecdsa")
    server.authorize((visitor.home / ".ssh" / "id_ecdsa.pub").read_text())
    visitor.enter(identity_file=None).close()
    assert not visitor.person.asked


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_every_usual_kind_of_key_works(server: Sshd, visitor: Visitor, kind: str) -> None:
    path = visitor.home / ".ssh" / f"id_{kind}"
    make_key(path, kind)
    server.authorize(path.with_suffix(".pub").read_text())
    visitor.enter(identity_file=None).close()


def test_the_agents_key_lets_us_in_without_a_file(
    server: Sshd, visitor: Visitor, agent: dict[str, str], tmp_path: Path
) -> None:
    path = locked_key(server, tmp_path / "in agent", "")
    subprocess.run(["ssh-add", "-q", path], env=agent, check=True, capture_output=True)
    for file in (path, path + ".pub"):
        Path(file).unlink()
    with visitor.enter(identity_file=None) as session:
        assert isinstance(session.key, paramiko.AgentKey)
    visitor.keys.close()


def test_the_agents_copy_of_a_locked_file_is_used_without_a_question(
    server: Sshd, visitor: Visitor, agent: dict[str, str]
) -> None:
    path = locked_key(server, visitor.home / "work", "secret")
    script = visitor.home / "askpass"
    script.write_text("#!/bin/sh\necho secret\n")
    script.chmod(0o700)
    asking = {**agent, "SSH_ASKPASS": str(script), "SSH_ASKPASS_REQUIRE": "force"}
    subprocess.run(["ssh-add", "-q", path], env=asking, check=True, capture_output=True)
    visitor.enter(identity_file=path).close()
    assert not visitor.person.asked
    visitor.keys.close()


def test_with_identities_only_the_agents_other_keys_are_not_offered(
    server: Sshd, visitor: Visitor, agent: dict[str, str], tmp_path: Path
) -> None:
    for number in range(7):
        make_key(tmp_path / f"extra{number}")
        subprocess.run(["ssh-add", "-q", str(tmp_path / f"extra{number}")], env=agent, check=True, capture_output=True)
    error = refused(visitor)
    assert error.code == "no-usable-key"
    assert "few tries" in error.what
    assert "IdentitiesOnly" in error.hint
    visitor.enter(identities_only=True).close()
    visitor.keys.close()


def test_a_public_key_file_selects_the_agents_key(
    server: Sshd, visitor: Visitor, agent: dict[str, str], tmp_path: Path
) -> None:
    path = locked_key(server, visitor.home / "hardware", "")
    for extra in range(6):
        make_key(tmp_path / f"extra{extra}")
        subprocess.run(["ssh-add", "-q", str(tmp_path / f"extra{extra}")], env=agent, check=True, capture_output=True)
    subprocess.run(["ssh-add", "-q", path], env=agent, check=True, capture_output=True)
    Path(path).unlink()
    visitor.enter(identity_file=path).close()
    visitor.enter(identity_file=path + ".pub", identities_only=True).close()
    visitor.keys.close()


def test_a_key_in_a_format_that_is_not_supported_is_named_not_asked_for(server: Sshd, visitor: Visitor) -> None:
    path = visitor.home / "odd"
    make_key(path, "ecdsa")
    server.authorize(path.with_suffix(".pub").read_text())
    private = serialization.load_ssh_private_key(path.read_bytes(), None)
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )
    visitor.person = Person(["x"])
    error = refused(visitor, identity_file=str(path))
    assert error.code == "no-usable-key"
    assert "ssh-keygen -p" in error.hint
    assert not visitor.person.asked


def test_a_dead_agent_is_no_reason_to_fail(visitor: Visitor) -> None:
    visitor.environ = {**visitor.environ, "SSH_AUTH_SOCK": str(visitor.home / "gone")}
    visitor.enter().close()


def test_the_refused_keys_are_named(visitor: Visitor) -> None:
    make_key(visitor.home / "stranger")
    error = refused(visitor, identity_file=str(visitor.home / "stranger"))
    assert error.code == "no-usable-key"
    assert "stranger" in error.why
    assert str(visitor.settings.user) in error.why


def test_without_any_key_that_is_said(visitor: Visitor) -> None:
    error = refused(visitor, identity_file=None)
    assert error.code == "no-usable-key"
    assert "no key to offer" in error.why


def test_a_key_file_that_is_not_there_is_named(visitor: Visitor) -> None:
    assert "nowhere" in refused(visitor, identity_file="~/nowhere").what


def test_passwords_are_not_supported_and_that_is_said(tmp_path: Path) -> None:
    config = ["PubkeyAuthentication no", "PasswordAuthentication yes"]
    with running_sshd(tmp_path, config=config) as server:
        visitor = Visitor(server, tmp_path / "visitor")
        error = refused(visitor)
        assert error.code == "no-usable-key"
        assert "passwords are not supported" in error.why


def test_a_key_added_a_moment_ago_is_tried_until_the_machine_knows_it(server: Sshd, visitor: Visitor) -> None:
    make_key(visitor.home / "new")
    threading.Timer(0.5, lambda: server.authorize((visitor.home / "new.pub").read_text())).start()
    visitor.enter(identity_file=str(visitor.home / "new"), key_just_added=True).close()
    assert any("does not know our key" in line for line in visitor.person.told)


def test_a_second_factor_is_asked_for_once_and_answered(visitor: Visitor) -> None:
    with second_factor_server() as port:
        visitor.instance = elsewhere(visitor, port)
        visitor.person = Person(["123456"])
        visitor.enter().close()
        assert visitor.person.asked == [("Enter the code Code", False, "two-factor-needed")]


def test_a_second_factor_with_nobody_there_is_refused_by_its_code(visitor: Visitor) -> None:
    with second_factor_server() as port:
        visitor.instance = elsewhere(visitor, port)
        assert refused(visitor).code == "two-factor-needed"


def elsewhere(visitor: Visitor, port: int) -> Instance:
    return replace(visitor.instance, port=port, host_key_name=f"[127.0.0.1]:{port}")


class second_factor_server:
    """OpenSSH asks for codes through PAM only, which this machine's users cannot set up; paramiko's server asks."""

    def __enter__(self) -> int:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._transports: list[paramiko.Transport] = []
        threading.Thread(target=self._accept, daemon=True).start()
        return int(self._listener.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for transport in self._transports:
            transport.close()
            wait_for(lambda ended=transport: not ended.is_alive())  # type: ignore[misc]  # a default binds the loop's value

    def _accept(self) -> None:
        host_key = paramiko.ECDSAKey.generate()
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(host_key)
            transport.start_server(server=_TwoFactors(), event=threading.Event())
            self._transports.append(transport)


class _TwoFactors(paramiko.ServerInterface):
    def get_allowed_auths(self, username: str) -> str:
        return "publickey,keyboard-interactive"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return AUTH_PARTIALLY_SUCCESSFUL

    def check_auth_interactive(self, username: str, submethods: str) -> int | InteractiveQuery:
        return InteractiveQuery("", "Enter the code", ("Code: ", True))

    def check_auth_interactive_response(self, responses: list[str]) -> int | InteractiveQuery:
        return AUTH_SUCCESSFUL if responses == ["123456"] else AUTH_FAILED


def test_keys_do_not_show_what_they_hold() -> None:
    assert "secret" not in repr(ssh.Keys())
