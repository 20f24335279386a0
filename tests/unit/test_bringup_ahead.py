"""`up` where a server was before: the path to it is checked while the machine looks, and the machine's word counts."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from remote_runtime import bringup
from remote_runtime.endings import Timeouts
from remote_runtime.machines import Machines
from remote_runtime.model import Profile, Secret, Server
from remote_runtime.runtimes import StateDir
from remote_runtime.settings import GceTarget
from remote_runtime.waits import Deadline
from tests.support.fakes import VM, Box, Cloud, Journal, Teller
from tests.support.jupyter import JupyterServer, jupyter_server

PROFILE = Profile("work", Path("/work.yaml"), GceTarget(instance="my-vm"), timeouts=Timeouts(ready_s=20.0))
WITHIN_S = 60.0


@pytest.fixture(scope="module")
def jupyter() -> Iterator[JupyterServer]:
    with jupyter_server() as server:
        yield server


@pytest.fixture
def held() -> Iterator[bringup.Held]:
    live = bringup.Held()
    yield live
    live.close()


class SlowBox(Box):
    """Its launcher answers once ``may_answer`` is set; ``cut``: its ports are not reached any more."""

    def __init__(self, journal: Journal, server: dict[str, Any]) -> None:
        super().__init__(journal, server)
        self.may_answer = threading.Event()
        self.cut = False
        self.dialled = threading.Event()

    def run(self, *command: Any, **given: Any) -> Any:
        assert self.may_answer.wait(WITHIN_S)
        return super().run(*command, **given)

    def dial(self, host: str, port: int, *, within_s: float) -> Any:
        assert not self.cut, "it is not dialled again"
        stream = super().dial(host, port, within_s=within_s)
        self.dialled.set()
        return stream


class SlowCloud(Cloud):
    def __init__(self, journal: Journal, jupyter: JupyterServer, home: Path) -> None:
        super().__init__(journal, server={"port": jupyter.port, "token": jupyter.token})
        self.state = StateDir(home)
        self.box = SlowBox(journal, self.server)

    def connect(self, *profile: Any, **given: Any) -> Any:
        return self.box


class Attentive(Teller):
    """``at``: what happens when a step begins."""

    def __init__(self, journal: Journal, at: dict[str, Callable[[], None]]) -> None:
        super().__init__(journal)
        self._at = at

    def step(self, text: str) -> None:
        super().step(text)
        self._at.get(text, lambda: None)()


def known(port: int, token: str) -> Server:
    return Server(port, 77, Secret(token), "/srv", False, "2.14.0", "0.1.0", "3.12.3", "/usr/bin/python3")


def begin(cloud: SlowCloud, held: bringup.Held, server: Server, **at: Callable[[], None]) -> Any:
    """`up` in another thread."""
    story = bringup.Story(
        profile=PROFILE,
        client_id="laptop1",
        machines=cast("Machines", cloud),
        tell=Attentive(Journal(), {"Checking the path as Colab will use it": at.get("checking", lambda: None)}),
        ask=cast("Any", None),
        record=lambda **facts: None,
        known=VM,
        known_server=server,
    )
    pool = ThreadPoolExecutor(1)
    going_on = pool.submit(bringup.ensure, story, held, start=True, deadline=Deadline(WITHIN_S))
    pool.shutdown(wait=False)
    return going_on


def test_the_path_is_checked_while_the_machine_looks_and_not_again(
    held: bringup.Held, jupyter: JupyterServer, tmp_path: Path
) -> None:
    cloud = SlowCloud(Journal(), jupyter, tmp_path)

    def cut() -> None:
        cloud.box.cut = True

    going_on = begin(cloud, held, known(jupyter.port, jupyter.token), checking=cut)
    assert cloud.box.dialled.wait(WITHIN_S)
    assert held.server is None, "the machine has not said anything yet"
    cloud.box.may_answer.set()
    assert going_on.result(WITHIN_S).verdict == "ready"
    assert held.server is not None


@pytest.mark.parametrize("trouble", ["it is gone", "another server answers there", "nobody speaks there"])
def test_the_server_that_the_machine_names_is_led_to_whatever_became_of_the_other(
    held: bringup.Held, jupyter: JupyterServer, tmp_path: Path, trouble: str
) -> None:
    cloud = SlowCloud(Journal(), jupyter, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = int(silent.getsockname()[1])
        if trouble == "it is gone":
            silent.close()
        before = known(jupyter.port if trouble.startswith("another") else port, "cd" * 24)
        going_on = begin(cloud, held, before)
        if trouble != "it is gone":
            assert cloud.box.dialled.wait(WITHIN_S)
        cloud.box.may_answer.set()
        assert going_on.result(WITHIN_S).verdict == "ready"
    assert held.way is not None
    assert held.way.at == ("127.0.0.1", jupyter.port)
    assert held.server is not None
    assert held.server.token.reveal() == jupyter.token


def test_a_machine_that_fails_fails_up_though_the_server_answers(
    held: bringup.Held, jupyter: JupyterServer, tmp_path: Path
) -> None:
    cloud = SlowCloud(Journal(), jupyter, tmp_path)
    cloud.server["pid"] = "none"
    going_on = begin(cloud, held, known(jupyter.port, jupyter.token))
    assert cloud.box.dialled.wait(WITHIN_S)
    cloud.box.may_answer.set()
    assert going_on.exception(WITHIN_S).code == "machine-answer-invalid"
    assert cloud.box.closed
