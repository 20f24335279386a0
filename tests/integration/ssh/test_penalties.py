"""A server that shuts out who fails to log in too often, as OpenSSH 9.8 and newer do: with its sums, made shorter."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from remote_runtime.core.errors import SshError
from tests.support.clients.ssh_client import Visitor
from tests.support.servers.login_server import LoginServer, login_server

LOGIN_S, MOST_S = 5.0, 15.0
REFUSAL = b"Not allowed at this time\r\n"


class Strict:
    """``knows``: from then on it accepts the key. ``owed_s``: what failed logins cost, and time takes away."""

    def __init__(self) -> None:
        self.knows = threading.Event()
        self.tries = 0
        self.refusals = 0
        self._until = 0.0
        self._shut = False

    @property
    def owed_s(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def owes(self, seconds: float) -> None:
        self._until = max(self._until, time.monotonic()) + seconds
        self._shut = self._shut or self.owed_s >= MOST_S

    def refuses(self) -> bytes:
        self._shut = self._shut and self.owed_s > 0
        self.refusals += self._shut
        return REFUSAL if self._shut else b""

    def judge(self) -> paramiko.ServerInterface:
        return _Judge(self)


class _Judge(paramiko.ServerInterface):
    def __init__(self, strict: Strict) -> None:
        self._strict = strict
        self._failed = False

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        if self._strict.knows.is_set():
            return int(paramiko.common.AUTH_SUCCESSFUL)
        if not self._failed:  # each connection counts once
            self._failed = True
            self._strict.tries += 1
            self._strict.owes(LOGIN_S)
        return int(paramiko.common.AUTH_FAILED)


@pytest.fixture
def strict() -> Strict:
    return Strict()


@pytest.fixture
def server(strict: Strict, tmp_path: Path) -> Iterator[LoginServer]:
    with login_server(tmp_path / "machine", strict.judge, "OpenSSH_9.9", strict.refuses) as server:
        yield server


@pytest.fixture
def visitor(server: LoginServer, tmp_path: Path) -> Visitor:
    return Visitor(server, tmp_path / "visitor")  # type: ignore[arg-type]  # it has what a visitor needs


def test_a_key_that_is_learned_late_is_waited_for_without_being_shut_out(strict: Strict, visitor: Visitor) -> None:
    wanted = (visitor.settings.identity_file or "") + ".pub"
    threading.Timer(3.0, strict.knows.set).start()
    line = " ".join(Path(wanted).read_text().split()[:2])
    visitor.enter(within_s=40, wanted=[line], key_just_added=True).close()
    assert strict.refusals == 0
    assert strict.tries >= 2


def test_a_server_that_refuses_for_now_is_waited_for(strict: Strict, visitor: Visitor) -> None:
    strict.knows.set()
    strict.owes(MOST_S + 1)
    strict._until = time.monotonic() + 2
    visitor.enter(within_s=30).close()
    assert strict.refusals >= 1
    assert any("blocks this address for a while" in line for line in visitor.person.told)


def test_a_server_that_goes_on_refusing_is_told_in_its_words(strict: Strict, visitor: Visitor) -> None:
    strict.owes(600)
    with pytest.raises(SshError) as caught:
        visitor.enter(within_s=1.5).close()
    assert caught.value.code == "ssh-refused"
    assert "Not allowed at this time" in caught.value.why
    assert "PerSourcePenalt" in caught.value.why + caught.value.hint
    assert "AllowTcpForwarding" not in caught.value.hint
    assert strict.refusals <= 2


def test_what_one_run_has_cost_is_known_to_the_next_and_no_login_is_made_too_soon(
    strict: Strict, visitor: Visitor
) -> None:
    for within_s in (10, 10, 1):
        with pytest.raises(SshError) as caught:
            visitor.enter(within_s=within_s).close()
    assert (strict.tries, strict.refusals) == (2, 0)
    assert caught.value.code == "ssh-refused"
    assert "PerSourcePenalties" in caught.value.why
    assert "timeouts.ssh" in caught.value.hint


def test_a_key_that_the_server_does_not_learn_in_time_is_what_is_told(strict: Strict, visitor: Visitor) -> None:
    line = " ".join(Path(f"{visitor.settings.identity_file}.pub").read_text().split()[:2])
    with pytest.raises(SshError) as caught:
        visitor.enter(within_s=3, wanted=[line], key_just_added=True).close()
    assert caught.value.code == "no-usable-key"
    assert strict.refusals == 0
