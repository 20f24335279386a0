"""A link that drops while `up`, or a repair, checks the path: nothing waits for what only they can restore."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import SshError
from remote_runtime.core.profile import COLAB_ORIGIN, ColabSettings, GceTarget, Profile, Timeouts
from remote_runtime.lifecycle import bring_up
from remote_runtime.lifecycle.context import BringUpContext
from remote_runtime.lifecycle.resources import Resources
from tests.support.fakes import EventLog, FakeProgress, FakeTarget
from tests.support.servers.jupyter import JupyterServer, jupyter_server

READY_S = 30.0
PROFILE = Profile(
    "work",
    Path("/work.yaml"),
    GceTarget(instance="my-vm"),
    colab=ColabSettings((COLAB_ORIGIN,)),
    timeouts=Timeouts(ready_s=READY_S),
)
CHECKING = "Verifying the connection"


@pytest.fixture(scope="module")
def jupyter() -> Iterator[JupyterServer]:
    with jupyter_server() as server:
        yield server


@pytest.fixture
def held() -> Iterator[Resources]:
    live = Resources()
    yield live
    live.close()


class Attentive(FakeProgress):
    """``then`` happens when the path is about to be checked."""

    def __init__(self, journal: EventLog, then: Callable[[], None]) -> None:
        super().__init__(journal)
        self._then = then

    def step(self, text: str, done: str = "") -> None:
        super().step(text, done)
        if text == CHECKING:
            self._then()


def story(cloud: FakeTarget, journal: EventLog, then: Callable[[], None]) -> BringUpContext:
    return BringUpContext(
        client_id="laptop1",
        target=cloud,
        progress=Attentive(journal, then),
        prompt=cast("Any", None),
        record=journal.record,
    )


def drops(cloud: FakeTarget, times: int) -> Callable[[], None]:
    def drop() -> None:
        if len(cloud.sessions) <= times:
            cloud.sessions[-1].closed = True
            cloud.sessions[-1].why_closed = "the cable was pulled"

    return drop


def test_an_up_enters_again_and_a_repair_fails_at_once_with_the_reason(held: Resources, jupyter: JupyterServer) -> None:
    journal = EventLog()
    cloud = FakeTarget(journal, PROFILE, server={"port": jupyter.port, "token": jupyter.token})
    began = time.monotonic()

    seen = bring_up.ensure(story(cloud, journal, drops(cloud, 2)), held, start=True, deadline=Deadline(60.0))

    assert seen.verdict == "ready"
    assert journal.events.count("connect") == 3
    assert "stop jupyter" not in journal.events
    held.disconnect()
    with pytest.raises(SshError) as raised:
        bring_up.ensure(story(cloud, journal, drops(cloud, 9)), held, start=False, deadline=Deadline(60.0))
    assert (raised.value.code, raised.value.why) == ("ssh-unreachable", "the cable was pulled")
    assert time.monotonic() - began < READY_S, "nobody waited for the front, which waited for us"


def test_an_up_whose_link_drops_each_time_gives_up_and_undoes(held: Resources, jupyter: JupyterServer) -> None:
    journal = EventLog()
    cloud = FakeTarget(journal, PROFILE, server={"port": jupyter.port, "token": jupyter.token})
    with pytest.raises(SshError, match="was lost"):
        bring_up.ensure(story(cloud, journal, drops(cloud, 99)), held, start=True, deadline=Deadline(60.0))
    assert journal.events.count("connect") == bring_up.MAX_TRIES
    assert "step: Undoing: stopping Jupyter" in journal.events
