"""~/.ssh/config, read by OpenSSH or without it, and the ways through other machines."""

from __future__ import annotations

import pwd
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from remote_runtime import ssh
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import Interrupted, SshError
from remote_runtime.core.model import Instance
from remote_runtime.core.profile import SshSettings, SshTarget
from tests.support.clients.ssh_client import Visitor
from tests.support.environment.waiting import eventually
from tests.support.servers.sshd import Sshd, running_sshd

OPENSSH, OURS = "/usr/bin:/bin", "/nowhere"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path) as server:
        yield server


@pytest.fixture
def bastion(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "bastion") as server:
        yield server


@pytest.fixture
def visitor(server: Sshd, tmp_path: Path) -> Visitor:
    visitor = Visitor(server, tmp_path / "visitor")
    visitor.settings = SshSettings()
    return visitor


def write_config(visitor: Visitor, text: str) -> None:
    (visitor.home / ".ssh" / "config").write_text(text)


def resolve(visitor: Visitor, host: str = "box", path: str = OPENSSH, **target: object) -> tuple[Instance, SshSettings]:
    environ = {**visitor.environ, "PATH": path}
    return ssh.resolve(SshTarget(host, **target), visitor.settings, environ=environ)  # type: ignore[arg-type]  # port or jump


def refused(visitor: Visitor, host: str = "box", path: str = OPENSSH) -> SshError:
    with pytest.raises(SshError) as caught:
        resolve(visitor, host, path)
    assert caught.value.code == "ssh-config-unsupported"
    return caught.value


@pytest.mark.parametrize("path", [OPENSSH, OURS])
def test_an_alias_is_entered_by_what_the_file_says(server: Sshd, visitor: Visitor, path: str) -> None:
    (visitor.home / "hosts").write_text(f"the-box {server.host_keys[0]}\n")
    write_config(
        visitor,
        f"Host box\n  HostName 127.0.0.1\n  Port {server.port}\n  User {server.user}\n"
        f"  IdentityFile {server.key_path}\n  IdentitiesOnly yes\n  HostKeyAlias the-box\n"
        f"  UserKnownHostsFile {visitor.home}/hosts\n",
    )
    instance, settings = resolve(visitor, path=path)
    assert (instance.address, instance.port, instance.host_key_name) == ("127.0.0.1", server.port, "the-box")
    assert settings.identities_only
    visitor.instance, visitor.settings = instance, settings
    visitor.enter().close()
    assert server.logins() == 1


@pytest.mark.parametrize("path", [OPENSSH, OURS])
def test_the_profile_wins_over_the_file(visitor: Visitor, path: str) -> None:
    write_config(visitor, "Host box\n  HostName example.invalid\n  Port 7\n  User them\n  ProxyJump b\n")
    visitor.settings = SshSettings(user="me")
    instance, settings = resolve(visitor, path=path, port=9, jump=("a",))
    assert (instance.address, instance.port, settings.user) == ("example.invalid", 9, "me")
    assert settings.proxy_jump == ("a",)
    assert instance.host_key_name == "[example.invalid]:9"


@pytest.mark.parametrize("path", [OPENSSH, OURS])
def test_a_host_that_the_file_does_not_know_is_taken_as_it_is(visitor: Visitor, path: str) -> None:
    instance, settings = resolve(visitor, "example.invalid", path)
    assert (instance.address, instance.port, instance.host_key_name) == ("example.invalid", 22, "example.invalid")
    assert settings.identity_files == ()
    assert settings.proxy_jump == ()
    assert settings.proxy_command is None


def test_included_files_count(visitor: Visitor) -> None:
    (visitor.home / ".ssh" / "more").write_text("Host box\n  Port 77\n")
    write_config(visitor, f"Include {visitor.home}/.ssh/more\n")
    for path in (OPENSSH, OURS):
        assert resolve(visitor, path=path)[0].port == 77


@pytest.mark.parametrize(
    "line",
    [
        "PKCS11Provider /lib/token.so",
        "KnownHostsCommand /bin/true",
        "BindAddress 127.0.0.1",
        "PubkeyAuthentication no",
        "RevokedHostKeys /etc/revoked",
    ],
)
@pytest.mark.parametrize("path", [OPENSSH, OURS])
def test_what_is_not_supported_is_refused_by_name(visitor: Visitor, line: str, path: str) -> None:
    write_config(visitor, f"Host box\n  {line}\n")
    error = refused(visitor, path=path)
    assert line.split()[0] in error.why
    assert error.hint


def test_a_file_that_openssh_cannot_read_is_refused(visitor: Visitor) -> None:
    write_config(visitor, "Host box\n  Porrt 22\n")
    assert "porrt" in refused(visitor).why.lower()


@pytest.mark.parametrize("host", ["-oProxyCommand=touch x", "", "a b", "a\nb"])
def test_what_is_no_host_name_is_never_given_to_ssh(visitor: Visitor, host: str) -> None:
    refused(visitor, host)


def test_a_jump_host_is_verified_and_entered_before_the_machine(server: Sshd, bastion: Sshd, visitor: Visitor) -> None:
    hosts = visitor.home / ".ssh" / "known_hosts"
    write_config(
        visitor,
        f"Host box\n  HostName 127.0.0.1\n  Port {server.port}\n  ProxyJump gate\n  IdentityFile {server.key_path}\n"
        f"Host gate\n  HostName 127.0.0.1\n  Port {bastion.port}\n  IdentityFile ~/keys-of-%n/%p\n",
    )
    of_the_gate = visitor.home / "keys-of-gate" / str(bastion.port)
    of_the_gate.parent.mkdir()
    of_the_gate.symlink_to(bastion.key_path)
    visitor.instance, visitor.settings = resolve(visitor)
    hosts.write_text(f"[127.0.0.1]:{server.port} {server.host_keys[0]}\n")
    with pytest.raises(SshError) as caught:
        visitor.enter()
    assert caught.value.code == "host-key-unknown"
    assert "gate" in caught.value.what
    assert (bastion.logins(), server.logins()) == (0, 0)
    hosts.write_text(hosts.read_text() + f"[127.0.0.1]:{bastion.port} {bastion.host_keys[0]}\n")
    with visitor.enter() as session:
        assert session.is_fast, "the engine carries the hop"
        lines: list[str] = []
        data = b"x" * 3_000_000
        session.run(["wc", "-c"], stdin=data, on_line=lines.append, deadline=Deadline(20))
        assert lines == ["3000000"]
        assert session.check(5) > 0
        assert (bastion.logins(), server.logins()) == (1, 1)
    eventually(lambda: bastion.live() == server.live() == 0)


def test_a_bastion_that_cannot_reach_the_machine_is_named(bastion: Sshd, server: Sshd, visitor: Visitor) -> None:
    server.refuse()
    write_config(
        visitor, f"Host gate\n  HostName 127.0.0.1\n  Port {bastion.port}\n  IdentityFile {bastion.key_path}\n"
    )
    visitor.settings = SshSettings(host_key="accept-new")
    visitor.instance, visitor.settings = resolve(visitor, "127.0.0.1", port=server.port, jump=("gate",))
    with pytest.raises(SshError) as caught:
        visitor.enter()
    assert caught.value.code == "ssh-unreachable"
    assert "gate" in caught.value.why


def test_jump_hosts_that_lead_to_each_other_are_refused(visitor: Visitor) -> None:
    write_config(visitor, "Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n")
    visitor.instance, visitor.settings = resolve(visitor, "a")
    with pytest.raises(SshError) as caught:
        visitor.enter()
    assert caught.value.code == "ssh-config-unsupported"


def test_a_proxy_command_carries_the_connection_and_ends_with_it(
    server: Sshd, visitor: Visitor, tmp_path: Path
) -> None:
    relay = tmp_path / "relay.py"
    relay.write_text(
        "import os, socket, sys, threading\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def up():\n"
        "    while data := os.read(0, 65536): s.sendall(data)\n"
        "    s.shutdown(socket.SHUT_WR)\n"
        "threading.Thread(target=up, daemon=True).start()\n"
        "while data := s.recv(65536): os.write(1, data)\n"
    )
    write_config(
        visitor,
        f"Host box\n  HostName 127.0.0.1\n  Port {server.port}\n  IdentityFile {server.key_path}\n"
        f"  ProxyCommand {sys.executable} {relay} %h %p\n",
    )
    visitor.settings = SshSettings(host_key="accept-new")
    visitor.instance, visitor.settings = resolve(visitor)
    with visitor.enter() as session:
        assert session.check(5) > 0
    pid = (tmp_path / "pid").read_text()
    eventually(lambda: not Path("/proc", pid).exists())


@pytest.mark.parametrize(("command", "named"), [("nc %h %z", "%z"), ("false", "SSH version")])
def test_a_proxy_command_that_cannot_work_is_explained(visitor: Visitor, command: str, named: str) -> None:
    visitor.settings = replace(visitor.settings, proxy_command=command)
    with pytest.raises(SshError) as caught:
        visitor.enter(within_s=5)
    assert named in caught.value.what + caught.value.why


def test_a_host_name_cannot_smuggle_a_command(visitor: Visitor, tmp_path: Path) -> None:
    visitor.settings = replace(visitor.settings, proxy_command="nc %h %p")
    visitor.instance = replace(visitor.instance, address=f"x;touch${{IFS}}{tmp_path}/made")
    with pytest.raises(SshError) as caught:
        visitor.enter(within_s=5)
    assert caught.value.code == "ssh-config-unsupported"
    assert not (tmp_path / "made").exists()


def test_a_proxy_command_that_hangs_can_be_called_off(visitor: Visitor) -> None:
    visitor.settings = replace(visitor.settings, proxy_command="sleep 60")
    threading.Timer(0.3, visitor.called_off.set).start()
    start = time.monotonic()
    with pytest.raises(Interrupted):
        visitor.enter(within_s=60)
    assert time.monotonic() - start < 20


@pytest.fixture
def nameless(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose uid no file knows, once its machine runs."""

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.usefixtures("nameless")
def test_without_a_name_here_it_is_said_that_the_profile_names_the_user(server: Sshd, visitor: Visitor) -> None:
    assert resolve(visitor)[1].user is None
    with pytest.raises(SshError) as caught:
        visitor.enter(host_key="accept-new", identity_file=str(server.key_path))
    assert caught.value.code == "ssh-config-unsupported"
    assert "ssh.user" in caught.value.hint
    visitor.enter(host_key="accept-new", identity_file=str(server.key_path), user=server.user).close()
    write_config(visitor, "Host box\n  Port 2222\n")
    assert resolve(visitor)[0].port == 2222
    write_config(visitor, "Match localuser me\n  Port 2222\n")
    assert "localuser" in refused(visitor).why


def test_a_match_that_takes_long_has_the_time_of_the_profile(visitor: Visitor) -> None:
    """Tests for a VPN do; five seconds were all that it had."""
    write_config(visitor, 'Match host box exec "sleep 5.5; true"\n  Port 2222\n')
    assert resolve(visitor)[0].port == 2222


@pytest.mark.parametrize("how", ["deadline", "called off"])
def test_a_match_that_does_not_end_is_ended(visitor: Visitor, tmp_path: Path, how: str) -> None:
    pid = tmp_path / "pid"
    write_config(visitor, f'Match host box exec "echo $$ > {pid}; exec sleep 60"\n  Port 2222\n')
    called_off = threading.Event()
    deadline = Deadline(1.0 if how == "deadline" else 30.0, called_off)
    threading.Timer(0.5, called_off.set if how == "called off" else lambda: None).start()
    with pytest.raises(Interrupted if how == "called off" else SshError) as caught:
        ssh.resolve(SshTarget("box"), visitor.settings, environ=visitor.environ, deadline=deadline)
    if isinstance(caught.value, SshError):
        assert "took more than 1 s" in caught.value.why
        assert "timeouts.ssh" in caught.value.hint
    eventually(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())


@pytest.mark.parametrize(
    ("prepare", "why", "hint"),
    [
        (lambda file: file.chmod(0o666), "Bad owner or permissions", "chmod 600 "),
        (lambda file: file.write_text("Host box\n  UseKeychain yes\n"), "usekeychain", "IgnoreUnknown usekeychain"),
        (lambda file: file.write_text("Host box\n  Port many\n"), "line 2", "ssh -G box"),
    ],
)
def test_what_openssh_complains_of_is_told_with_what_helps(
    visitor: Visitor, prepare: Callable[[Path], object], why: str, hint: str
) -> None:
    write_config(visitor, "Host box\n  Port 2222\n")
    prepare(visitor.home / ".ssh" / "config")
    error = refused(visitor)
    assert why in error.why
    assert hint in error.hint
    assert "not supported" not in error.what
    assert "doctor" not in error.hint
