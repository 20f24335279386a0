"""What a server wants beside the key: questions without end, or a password."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import paramiko
import pytest
from paramiko.server import InteractiveQuery

from remote_runtime.core.errors import SshError
from tests.support.clients.ssh_client import Person, Visitor
from tests.support.servers.login_server import login_server
from tests.support.servers.second_factor import CODE, asks_for_a_code


class AsksOnAndOn(paramiko.ServerInterface):
    """After the key it asks ``prompts`` again and again."""

    def __init__(self, prompts: list[tuple[str, bool]]) -> None:
        self.prompts = prompts
        self.rounds = 0

    def get_allowed_auths(self, username: str) -> str:
        return "publickey,keyboard-interactive"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return int(paramiko.common.AUTH_PARTIALLY_SUCCESSFUL)

    def check_auth_interactive(self, username: str, submethods: str) -> InteractiveQuery:
        return InteractiveQuery("", "", *self.prompts)

    def check_auth_interactive_response(self, responses: list[str]) -> InteractiveQuery:
        self.rounds += 1
        return InteractiveQuery("", "", *self.prompts)


@pytest.mark.parametrize("prompts", [[], [("Code", False)]])
def test_questions_without_end_end_the_login(tmp_path: Path, prompts: list[tuple[str, bool]]) -> None:
    judge = AsksOnAndOn(prompts)
    with login_server(tmp_path / "machine", lambda: judge) as server:
        visitor = Visitor(server, tmp_path / "visitor")  # type: ignore[arg-type]  # it has what a visitor needs
        visitor.person = Person(["0"] * 10_000)
        threading.Timer(15, visitor.called_off.set).start()
        with pytest.raises(SshError) as caught:
            visitor.enter(within_s=30).close()
        assert caught.value.code == "two-factor-needed"
        assert "prompted" in caught.value.why
        assert judge.rounds <= 8


def test_what_a_person_takes_is_not_the_servers_time_and_no_answer_gives_the_server_more(tmp_path: Path) -> None:
    """A server that never says what it thinks of an answer is left at the deadline, however often it was answered."""

    class Silent(AsksOnAndOn):
        def check_auth_interactive_response(self, responses: list[str]) -> InteractiveQuery:
            self.rounds += 1
            if self.rounds == 2:
                over.wait(10)
            return InteractiveQuery("", "", *self.prompts)

    class Slow(Person):
        def ask(self, prompt: str, *, secret: bool, code: str) -> str:
            time.sleep(1.5)
            return super().ask(prompt, secret=secret, code=code)

    over = threading.Event()
    with login_server(tmp_path / "machine", lambda: Silent([("Code", False)])) as server:
        visitor = Visitor(server, tmp_path / "visitor")  # type: ignore[arg-type]  # it has what a visitor needs
        visitor.person = Slow(["1", "2", "3"])
        start = time.monotonic()
        with pytest.raises(SshError) as caught:
            visitor.enter(within_s=2.0).close()
        over.set()
        assert len(visitor.person.asked) == 2
        assert caught.value.code == "ssh-unreachable"
        assert "The login took more than 2 s" in caught.value.why
        assert time.monotonic() - start < 10


def test_a_password_after_the_key_is_asked_for(tmp_path: Path) -> None:
    with asks_for_a_code(tmp_path, by="password") as server:
        visitor = Visitor(server, tmp_path / "visitor")
        visitor.person = Person(["wrong", CODE])
        visitor.enter().close()
        assert [(secret, code) for _, secret, code in visitor.person.asked] == [(True, "two-factor-needed")] * 2
        assert visitor.person.asked[0][0] == f"Password of {server.user}"
        assert visitor.person.asked[1][0].startswith("Not accepted. ")
        assert server.logins() == 1
        visitor.person = Person()
        with pytest.raises(SshError) as caught:
            visitor.enter().close()
        assert caught.value.code == "two-factor-needed"
        assert CODE not in repr(caught.value.as_dict())
