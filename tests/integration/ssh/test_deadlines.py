"""``timeouts.ssh`` is what a server has, whoever connects; and who runs out of it says what was seen last."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import SshError
from remote_runtime.core.model import Instance
from remote_runtime.ssh import NoVersionReceived, open_sshtunnel
from remote_runtime.targets import routes
from tests.support.clients.ssh_client import Visitor
from tests.support.servers.login_server import login_server
from tests.support.servers.scripted_server import Visit, doorman
from tests.support.servers.sshd import Sshd, running_sshd

PARAMIKOS_S = 15.0  # what paramiko, and we, once gave a greeting, whatever the profile said
LATE_S = PARAMIKOS_S + 1.5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("machine")) as server:
        yield server


@pytest.fixture
def visitor(server: Sshd, tmp_path: Path) -> Visitor:
    return Visitor(server, tmp_path / "visitor")


def failed(visitor: Visitor, within_s: float, **given: Any) -> SshError:
    with pytest.raises(SshError) as caught:
        visitor.enter(within_s=within_s, **given).close()
    return caught.value


def test_a_late_greeting_is_waited_for_whoever_waits(server: Sshd, tmp_path: Path) -> None:
    """Directly, through a ProxyCommand that talks, at a reconnect, and by sshtunnel: all at once, as they take long."""

    def late(visit: Visit) -> None:
        time.sleep(LATE_S)
        visit.leads_to(server.port)

    visitors = [Visitor(server, tmp_path / name) for name in ("direct", "again", "by command")]
    direct, again, by_command = visitors
    with doorman(late) as there, Visitor(server, tmp_path / "first").enter() as session:
        for visitor in (direct, again):
            visitor.instance = replace(visitor.instance, port=there.port)
        command = f"sh -c 'echo looking for a way >&2; sleep {LATE_S}; exec socat - TCP:%h:%p'"
        ways: list[Any] = [
            lambda: direct.enter(within_s=60).close(),
            lambda: again.enter(within_s=60, reconnect=True).close(),
            lambda: by_command.enter(within_s=60, proxy_command=command).close(),
            lambda: open_sshtunnel(session, "127.0.0.1", 9, progress=direct.person.tell, deadline=Deadline(60)).close(),
        ]
        with ThreadPoolExecutor(len(ways)) as pool:
            for done in [pool.submit(way) for way in ways]:
                done.result(60)
    for visitor in visitors:
        assert any("no version received yet" in line for line in visitor.person.told), "it is told after some seconds"
    assert any("looking for a way" in line for line in by_command.person.told)
    assert not any("closes" in line or "closed" in line for visitor in visitors for line in visitor.person.told)


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        (b"", "sends nothing"),
        (b"Please wait\r\n", "Please wait"),
        (b"SSH-2.0-OpenSSH_9.2 Debian\r\n", "the server sent its version (SSH-2.0-OpenSSH_9.2 Debian)"),
    ],
)
def test_who_runs_out_of_time_says_what_was_seen_last(visitor: Visitor, said: bytes, seen: str) -> None:
    """The third is what a tunnel does that loses large packets: the version arrives, the key exchange does not."""

    def stall(visit: Visit) -> None:
        visit.says(said)
        while visit.client.recv(1 << 16):
            pass

    with doorman(stall) as there:
        visitor.instance = replace(visitor.instance, port=there.port)
        error = failed(visitor, 1.0)
        assert error.code == "ssh-unreachable"
        assert seen in error.why
        assert ("MTU" in error.why + error.hint) == said.startswith(b"SSH")
        assert "clos" not in str(error)
        assert error.hint
        assert "doctor" not in error.hint


def test_a_proxy_command_that_goes_on_is_not_called_a_server(visitor: Visitor) -> None:
    error = failed(visitor, 1.0, proxy_command="sh -c 'echo open https://login.example/x >&2; sleep 60'")
    assert error.code == "ssh-unreachable"
    assert "ProxyCommand" in error.why
    assert "https://login.example/x" in error.why
    assert "clos" not in str(error)


class Thinks(paramiko.ServerInterface):
    """About a key, until ``over``."""

    over = threading.Event()

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self.over.wait(20)
        return int(paramiko.common.AUTH_FAILED)


def test_a_login_that_does_not_end_says_how_far_it_came(tmp_path: Path) -> None:
    with login_server(tmp_path / "machine", Thinks) as server:
        visitor = Visitor(server, tmp_path / "visitor")  # type: ignore[arg-type]  # it has what a visitor needs
        error = failed(visitor, 4.0)
        Thinks.over.set()
        assert error.code == "ssh-unreachable"
        assert "The login took more than 4 s" in error.why
        assert "host key is verified" in error.why
        assert "timeouts.ssh" in error.hint
        assert any("Waiting for the login" in line for line in visitor.person.told)


def test_what_was_seen_before_counts_when_the_last_try_had_no_time(server: Sshd, visitor: Visitor) -> None:
    def first(visit: Visit) -> None:
        if visit.number == 1:
            visit.says(b"Too many users today\r\n")
            return
        while visit.client.recv(1 << 16):
            pass

    with doorman(first) as there:
        visitor.instance = replace(
            visitor.instance, port=there.port, kind="gce", host_key_name="compute.1", started_from="TERMINATED"
        )
        assert "Too many users today" in failed(visitor, 1.8).why


def test_a_late_greeting_at_the_external_address_is_waited_for_where_iap_does_not_lead() -> None:
    tried: list[tuple[str, float | None]] = []

    def by(at: Instance, within_s: float | None) -> str:
        tried.append((at.via, within_s))
        if at.via == "iap":
            raise SshError("iap-refused", "no")
        if within_s is not None:
            raise NoVersionReceived("ssh-unreachable", "it has not greeted yet")
        return "entered"

    instance = Instance("gce", "vm", address="192.0.2.1", via="external")
    assert routes.connect_external_or_iap(by, instance, lambda text: None, Deadline(60)) == "entered"
    assert tried == [("external", routes.EXTERNAL_TIMEOUT_S), ("iap", None), ("external", None)]
