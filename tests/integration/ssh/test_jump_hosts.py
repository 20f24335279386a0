"""A jump host's failure is the jump host's, and its entry in a profile says whom to log in as, and at which port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_runtime import profiles, ssh
from remote_runtime.core.errors import SshError, UsageError
from remote_runtime.core.profile import SshSettings, SshTarget
from tests.support.clients.ssh_client import Visitor
from tests.support.environment.waiting import eventually
from tests.support.servers.scripted_server import Visit, doorman
from tests.support.servers.sshd import Sshd, make_key, running_sshd


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("machine")) as server:
        yield server


@pytest.fixture(scope="module")
def bastion(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("bastion")) as server:
        yield server


@pytest.fixture
def visitor(server: Sshd, tmp_path: Path) -> Visitor:
    return Visitor(server, tmp_path / "visitor")


def through(visitor: Visitor, server: Sshd, jump: tuple[str, ...], *, key: Path, config: str = "") -> None:
    """Into ``server`` and out again."""
    (visitor.home / ".ssh" / "config").write_text(config)
    wanted = SshSettings(user=server.user, host_key="accept-new", identity_file=str(key))
    target = SshTarget("127.0.0.1", port=server.port, jump=jump)
    visitor.instance, visitor.settings = ssh.resolve(target, wanted, environ=visitor.environ)
    visitor.enter(within_s=10).close()


def test_a_profiles_jump_hosts_have_users_and_ports(
    server: Sshd, bastion: Sshd, visitor: Visitor, tmp_path: Path
) -> None:
    """The machine's own user is not the jump host's, and the other way round."""
    bastion.authorize(server.key_path.with_suffix(".pub").read_text())
    path = tmp_path / "far.yaml"
    entry = f"{bastion.user}@127.0.0.1:{bastion.port}"
    path.write_text(
        f"version: 1\ntarget: {{kind: ssh, host: 127.0.0.1, port: {server.port}, jump: ['{entry}']}}\n"
        f"ssh: {{user: {server.user}, identity_file: {server.key_path}, host_key: accept-new}}\n"
    )
    profile = profiles.load(str(path), environ={})
    assert isinstance(profile.target, SshTarget)
    assert profile.target.jump == (entry,)
    before = bastion.logins()
    through(visitor, server, profile.target.jump, key=server.key_path, config="Host 127.0.0.1\n  User nobody-else\n")
    assert bastion.logins() == before + 1


@pytest.mark.parametrize(
    ("entry", "fits"),
    [
        ("gate", True),
        ("me@gate", True),
        ("gate:2222", True),
        ("me@corp.example@gate:22", True),
        ("'CORP\\me@gate'", True),
        ("'me@[2001:db8::1]:2222'", True),
        ("'[::1]'", True),
        ("'::1'", False),
        ("gate:0", False),
        ("gate:70000", False),
        ("gate:ssh", False),
        ("'@gate'", False),
        ("ssh://gate", False),
        ("'-oProxyCommand=x'", False),
        ("'me@-oProxyCommand=x'", False),
        ("'a b'", False),
        ("'gate;x'", False),
    ],
)
def test_what_a_jump_host_may_look_like(tmp_path: Path, entry: str, *, fits: bool) -> None:
    path = tmp_path / "far.yaml"
    path.write_text(f"version: 1\ntarget: {{kind: ssh, host: box, jump: [{entry}]}}\n")
    if fits:
        target = profiles.load(str(path), environ={}).target
        assert isinstance(target, SshTarget)
        ssh.resolve(SshTarget("box", jump=target.jump), SshSettings(), environ={"HOME": str(tmp_path), "PATH": "/no"})
        return
    with pytest.raises(UsageError) as caught:
        profiles.load(str(path), environ={})
    assert "target.jump" in caught.value.why


def test_a_jump_host_that_refuses_the_key_is_the_one_that_is_named(
    server: Sshd, bastion: Sshd, visitor: Visitor
) -> None:
    make_key(visitor.home / "stranger")
    entry = f"guest@127.0.0.1:{bastion.port}"
    with pytest.raises(SshError) as caught:
        through(visitor, server, (entry,), key=visitor.home / "stranger")
    error = caught.value
    assert error.code == "no-usable-key"
    assert f"jump host {entry}" in error.what
    assert "as guest" in error.what
    assert "ssh.user" not in error.hint
    assert "jump" in error.hint


def test_a_jump_host_that_is_not_there_is_not_the_target(server: Sshd, visitor: Visitor) -> None:
    for entry, code in (("no-such-gate.invalid", "ssh-unreachable"), ("127.0.0.1:1", "ssh-unreachable")):
        with pytest.raises(SshError) as caught:
            through(visitor, server, (entry,), key=server.key_path)
        assert caught.value.code == code
        assert f"jump host {entry}" in caught.value.what
        assert "target.host" not in caught.value.hint


def test_a_jump_host_that_takes_few_tries_does_not_have_the_machine_tried_again(
    server: Sshd, visitor: Visitor, tmp_path: Path
) -> None:
    """Its words are its own; and of two jump hosts, the one is named that failed."""
    with running_sshd(tmp_path / "strict", config=["MaxAuthTries 1"]) as strict:
        make_key(visitor.home / "stranger")
        with pytest.raises(SshError) as caught:
            through(visitor, server, (f"127.0.0.1:{strict.port}",), key=visitor.home / "stranger")
        assert f"jump host 127.0.0.1:{strict.port}" in caught.value.what
    with doorman(lambda visit: visit.says(b"no jobs here\r\n")) as there, pytest.raises(SshError) as caught:
        through(visitor, server, (f"127.0.0.1:{there.port}", "127.0.0.1:9"), key=server.key_path)
    assert f"jump host 127.0.0.1:{there.port}" in caught.value.what
    assert "no jobs here" in caught.value.why


def test_a_jump_host_that_goes_is_not_the_machine_that_hangs_up(server: Sshd, bastion: Sshd, visitor: Visitor) -> None:
    """In the key exchange with the machine, and after it."""
    bastion.authorize(server.key_path.with_suffix(".pub").read_text())
    entry = f"{bastion.user}@127.0.0.1:{bastion.port}"

    def cut(visit: Visit) -> None:
        bastion.cut()

    wanted = SshSettings(user=server.user, host_key="accept-new", identity_file=str(server.key_path))
    with doorman(cut) as there:
        target = SshTarget("127.0.0.1", port=there.port, jump=(entry,))
        visitor.instance, visitor.settings = ssh.resolve(target, wanted, environ=visitor.environ)
        with pytest.raises(SshError) as caught:
            visitor.enter(within_s=10).close()
    assert f"jump host {entry}" in caught.value.why
    target = SshTarget("127.0.0.1", port=server.port, jump=(entry,))
    visitor.instance, visitor.settings = ssh.resolve(target, wanted, environ=visitor.environ)
    with visitor.enter(within_s=10) as session:
        bastion.cut()
        eventually(lambda: session.closed)
        assert f"jump host {entry}" in session.why_closed


def test_a_jump_host_that_forwards_nothing_is_what_has_to_be_changed(
    server: Sshd, visitor: Visitor, tmp_path: Path
) -> None:
    with running_sshd(tmp_path / "closed", config=["AllowTcpForwarding no"]) as gate:
        gate.authorize(server.key_path.with_suffix(".pub").read_text())
        entry = f"{gate.user}@127.0.0.1:{gate.port}"
        with pytest.raises(SshError) as caught:
            through(visitor, server, (entry,), key=server.key_path)
    assert f"jump host {entry}" in caught.value.what
    assert "AllowTcpForwarding" in caught.value.hint
    assert "target.host" not in caught.value.hint
