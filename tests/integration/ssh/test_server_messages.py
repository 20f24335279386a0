"""What a server, or a program on the way to it, says before it lets nobody in is what a person reads."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest

from remote_runtime.core.errors import SshError
from remote_runtime.ssh.transport.transport import Transport
from tests.support.clients.ssh_client import Visitor
from tests.support.environment.mounts import within_mount
from tests.support.servers.login_server import login_server
from tests.support.servers.scripted_server import Doorman, Visit, doorman
from tests.support.servers.sshd import Sshd, make_key, running_sshd

GCLOUD = "ERROR: (gcloud.compute) You do not currently have an active account selected"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("machine")) as server:
        yield server


@pytest.fixture
def visitor(server: Sshd, tmp_path: Path) -> Visitor:
    return Visitor(server, tmp_path / "visitor")


def refused(visitor: Visitor, **settings: Any) -> SshError:
    with pytest.raises(SshError) as caught:
        visitor.enter(within_s=10, **settings).close()
    return caught.value


def at(visitor: Visitor, there: Doorman) -> Visitor:
    visitor.instance = replace(visitor.instance, port=there.port)
    return visitor


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (f"sh -c 'echo \"{GCLOUD}\" >&2; exit 1'", ["status 1", GCLOUD]),
        ("no-such-program access ssh --hostname %h", ["status 127", "no-such-program"]),
        ("sh -c 'kill -9 $$'", ["signal 9"]),
        ("sh -c 'printf \"\\033[31mrefus\\351 \\033[0m\" >&2; exit 4'", ["status 4", "refus"]),
        ("sh -c 'echo SSH-2.0-x; sleep 0.2; echo gone >&2; exit 5'", ["status 5", "gone"]),
    ],
)
def test_a_proxy_command_that_ends_says_why(visitor: Visitor, command: str, said: list[str]) -> None:
    error = refused(visitor, proxy_command=command)
    assert "ProxyCommand" in error.why
    assert "server closes" not in str(error)
    assert all(words in error.why for words in said), error.why
    assert "\x1b" not in error.why
    assert "doctor" not in error.hint


def test_a_proxy_command_that_talks_is_listened_to(server: Sshd, visitor: Visitor) -> None:
    """More than a pipe holds, and it still carries the connection; its last words tell why a session ended."""
    noise = "head -c 300000 /dev/zero | tr '\\0' n >&2"
    command = f"sh -c '{noise}; socat - TCP:%h:%p; echo the relay is over >&2; exit 3'"
    with visitor.enter(proxy_command=command) as session:
        server.cut()
        end = time.monotonic() + 10
        while not session.closed and time.monotonic() < end:
            time.sleep(0.01)
        assert "the relay is over" in session.why_closed
        assert "status 3" in session.why_closed


def test_what_a_login_module_says_is_told_when_it_lets_nobody_in(tmp_path: Path) -> None:
    words, rules = tmp_path / "words", tmp_path / "rules"
    words.write_text("Access denied: you have no active jobs on this node\n")
    rules.write_text(
        f"auth required pam_permit.so\naccount optional pam_echo.so file={words}\n"
        "account required pam_deny.so\nsession required pam_permit.so\n"
    )
    with running_sshd(
        tmp_path, config=["UsePAM yes"], within=within_mount(f'--bind "{rules}" /etc/pam.d/sshd')
    ) as sshd:
        error = refused(Visitor(sshd, tmp_path / "visitor"))
        assert "no active jobs on this node" in error.why
        assert "AllowTcpForwarding" not in error.hint


def test_a_banner_is_told_when_no_key_is_accepted(tmp_path: Path) -> None:
    banner = tmp_path / "banner"
    banner.write_bytes(b"\x1b[2J Wartung f\xfcr alle\nuntil Monday\n" + b"x" * 100_000)
    with running_sshd(tmp_path, config=[f"Banner {banner}"]) as sshd:
        sshd.authorize_nobody()
        error = refused(Visitor(sshd, tmp_path / "visitor"))
        assert error.code == "no-usable-key"
        assert "Wartung für alle / until Monday" in error.why
        assert len(error.why) < 1000
        assert "\x1b" not in error.why


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"Too many users: come back at 6\r\n", "come back at 6"),
        (b"Zugang f\xfcr niemand", "Zugang für niemand"),
        (b"first\r\n\r\n\x1b[31msecond\r\nthird\r\nfourth\r\n", "second / third / fourth"),
        (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        (b"SSH-1.5-ancient\r\n", "SSH-1.5-ancient"),
    ],
)
def test_text_in_place_of_a_version_is_told(visitor: Visitor, said: bytes, told: str) -> None:
    with doorman(lambda visit: visit.says(said)) as there:
        error = refused(at(visitor, there))
        assert error.code == "ssh-refused"
        assert told in error.why
        assert "doctor" not in error.hint
        assert "AllowTcpForwarding" not in error.hint


@pytest.mark.parametrize("said", [b"Zugang nur f\xfcr Befugte\r\n", b"read the rules\r\n" * 600, b"y" * 8000 + b"\n"])
def test_text_before_the_version_is_no_reason_to_fail(server: Sshd, visitor: Visitor, said: bytes) -> None:
    def welcome(visit: Visit) -> None:
        visit.says(said)
        visit.leads_to(server.port)

    with doorman(welcome) as there:
        at(visitor, there).enter().close()
        assert len(there.visits) == 1


def test_a_server_that_hangs_up_in_the_key_exchange_has_greeted(visitor: Visitor) -> None:
    with doorman(lambda visit: visit.says(b"SSH-2.0-OpenSSH_9.2\r\n")) as there:
        error = refused(at(visitor, there))
        assert "during the key exchange" in error.why
        assert "greeting" not in error.why


@pytest.mark.parametrize(
    ("config", "offered", "line"),
    [
        (["Ciphers chacha20-poly1305@openssh.com"], "chacha20-poly1305@openssh.com", "Ciphers +aes128-gcm@openssh.com"),
        (
            ["KexAlgorithms sntrup761x25519-sha512@openssh.com"],
            "sntrup761x25519-sha512@openssh.com",
            "KexAlgorithms +curve25519-sha256",
        ),
        (
            ["MACs umac-128-etm@openssh.com", "Ciphers aes256-ctr"],
            "umac-128-etm@openssh.com",
            "MACs +hmac-sha2-256-etm@openssh.com",
        ),
        (["KexAlgorithms diffie-hellman-group14-sha1"], "diffie-hellman-group14-sha1", "KexAlgorithms +"),
        (["HostKeyAlgorithms ssh-rsa", "HostKey {rsa}"], "ssh-rsa", "HostKeyAlgorithms +rsa-sha2-512"),
    ],
)
def test_a_server_with_no_common_algorithm_is_told_which_line_helps(
    tmp_path: Path, config: list[str], offered: str, line: str
) -> None:
    make_key(tmp_path / "rsa", "rsa")
    config = [each.format(rsa=tmp_path / "rsa") for each in config]
    with running_sshd(tmp_path, config=config) as sshd:
        error = refused(Visitor(sshd, tmp_path / "visitor"))
        assert error.code == "ssh-refused"
        assert offered in error.why.split("supported here")[0]
        assert line in error.hint
        assert "AllowTcpForwarding" not in error.hint
    more = error.hint.split("+")[1].rstrip("`")
    lines = [f"{config[0]},{more}", *config[1:]]
    with running_sshd(tmp_path / "mended", config=lines) as sshd:
        Visitor(sshd, tmp_path / "visitor").enter().close()


def test_a_server_without_sshd_config_is_not_told_of_its_lines(visitor: Visitor, tmp_path: Path) -> None:
    with login_server(tmp_path / "other", paramiko.ServerInterface, ciphers=("aes128-cbc",)) as there:
        visitor.instance = replace(visitor.instance, port=there.port)
        error = refused(visitor)
        assert error.code == "ssh-refused"
        assert "it offers aes128-cbc" in error.why
        assert "sshd_config" not in error.hint


@pytest.mark.parametrize("line", ["KexAlgorithms curve25519-sha256", "MACs umac-128-etm@openssh.com"])
def test_what_is_the_same_by_another_name_or_is_not_used_need_not_be_common(tmp_path: Path, line: str) -> None:
    with running_sshd(tmp_path, config=[line]) as sshd, Visitor(sshd, tmp_path / "visitor").enter() as session:
        assert session.is_fast


def test_no_key_exchange_with_sha_1_is_offered_by_any_paramiko(monkeypatch: pytest.MonkeyPatch) -> None:
    """As paramiko 3 has them."""
    weak = ("diffie-hellman-group-exchange-sha1", "diffie-hellman-group14-sha1", "diffie-hellman-group1-sha1")
    transport: Any = paramiko.Transport
    engine = transport._kex_info["diffie-hellman-group14-sha256"]
    monkeypatch.setattr(transport, "_preferred_kex", (*transport._preferred_kex, *weak))
    monkeypatch.setattr(Transport, "_kex_info", {**Transport._kex_info, **dict.fromkeys(weak, engine)})
    ours, theirs = socket.socketpair()
    with ours, theirs:
        offered = Transport(ours, ["ssh-ed25519"]).get_security_options().kex
        assert "curve25519-sha256@libssh.org" in offered
        assert not [name for name in offered if "sha1" in name]


def test_the_reason_after_a_long_banner_is_told_and_no_secret_in_it(visitor: Visitor) -> None:
    banner = b"*" * 60 + b"\n* AUTHORIZED USE ONLY *\n* monitored *\n* all of it *\n" + b"*" * 60 + b"\n"
    secret = b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAAbody\n-----END OPENSSH PRIVATE KEY-----\n"
    with doorman(lambda visit: visit.says(banner + secret + b"No job on this node, token=abcdef12\n")) as there:
        error = refused(at(visitor, there))
    assert "No job on this node" in error.why
    assert "AAAAbody" not in error.why
    assert "abcdef12" not in error.why
    told = "\n".join(visitor.person.told)
    assert "No job on this node" in told
    assert "abcdef12" not in told


def test_a_disconnect_in_the_key_exchange_is_told(visitor: Visitor) -> None:
    def disconnect(visit: Visit) -> None:
        text = b"closed for maintenance"
        body = b"\1\0\0\0\2" + len(text).to_bytes(4, "big") + text + b"\0\0\0\0"
        padding = 8 + -(len(body) + 5 + 8) % 8
        visit.says(b"SSH-2.0-x\r\n" + (len(body) + padding + 1).to_bytes(4, "big") + bytes([padding]) + body)
        visit.says(bytes(padding))
        visit.client.recv(1 << 16)

    with doorman(disconnect) as there:
        assert "closed for maintenance" in refused(at(visitor, there)).why


def test_what_a_proxy_command_says_on_its_output_is_told(visitor: Visitor) -> None:
    error = refused(visitor, proxy_command="sh -c 'echo quota exceeded; exit 4'")
    assert "status 4" in error.why
    assert "quota exceeded" in error.why
    error = refused(visitor, proxy_command="sh -c 'echo SSH-2.0-x; sleep 0.1; echo token: abcdef12 is bad >&2; exit 1'")
    assert error.code == "ssh-unreachable"
    assert "is bad" in error.why
    assert "abcdef12" not in error.why
    assert "ProxyCommand" in error.hint


def test_a_proxy_command_that_leaves_a_program_behind_leaves_nothing_of_ours(visitor: Visitor) -> None:
    """As `ControlPersist` does. Its own end is told, though what it left holds the connection open."""
    with pytest.raises(SshError) as caught:
        visitor.enter(within_s=1.5, proxy_command="sh -c 'sleep 6 & echo gone >&2; exit 3'").close()
    assert "status 3: gone" in caught.value.why
    assert not [thread for thread in threading.enumerate() if thread.name == "ProxyCommand"]


def test_who_greets_late_is_not_said_to_have_been_silent_since(visitor: Visitor) -> None:
    def late(visit: Visit) -> None:
        time.sleep(0.8)
        visit.says(b"SSH-2.0-x\r\n")
        while visit.client.recv(1 << 16):
            pass

    with doorman(late) as there, pytest.raises(SshError) as caught:
        at(visitor, there).enter(within_s=1.0).close()
    assert "in the 0." in caught.value.why
    assert "timeouts.ssh" in caught.value.hint
    assert "MTU" not in caught.value.hint


@pytest.mark.parametrize("said", [b"SSH-2.0-Ope", b"Please hold the line, token=abcdef12 "])
def test_half_a_line_is_not_called_silence(visitor: Visitor, said: bytes) -> None:
    def stall(visit: Visit) -> None:
        visit.says(said)
        while visit.client.recv(1 << 16):
            pass

    with doorman(stall) as there, pytest.raises(SshError) as caught:
        at(visitor, there).enter(within_s=0.5).close()
    assert said[:11].decode() in caught.value.why
    assert "nothing" not in caught.value.why
    assert "abcdef12" not in caught.value.why
