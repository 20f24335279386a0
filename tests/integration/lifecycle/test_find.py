"""`up` of a machine that was entered before: entered where it was, and what the look-up says in the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from remote_runtime import ssh
from remote_runtime.core.deadline import Deadline, wait_until
from remote_runtime.core.errors import CloudError, SshError
from remote_runtime.core.model import Instance, Runtime
from remote_runtime.core.profile import COLAB_ORIGIN, ColabSettings, GceTarget, Profile, Timeouts
from remote_runtime.lifecycle import bring_up
from remote_runtime.lifecycle.context import BringUpContext
from remote_runtime.lifecycle.find import apply_lookup
from remote_runtime.lifecycle.resources import Resources
from remote_runtime.state.store import StateDir
from remote_runtime.targets import FindOptions, LoginOptions
from remote_runtime.targets.gce import GceBackend
from tests.support.fakes import VM, EventLog, FakeProgress, FakeSession, FakeTarget, nobody
from tests.support.servers.jupyter import JupyterServer, jupyter_server

PROFILE = Profile(
    "work",
    Path("/work.yaml"),
    GceTarget(instance="my-vm"),
    colab=ColabSettings((COLAB_ORIGIN,)),
    timeouts=Timeouts(ready_s=20.0),
)
LAST_RUN = Runtime("work", "/work.yaml", {}, "laptop1", instance=VM, unfinished=False)
PIN = f"{VM.host_key_name} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


@pytest.fixture(scope="module")
def jupyter() -> Iterator[JupyterServer]:
    with jupyter_server() as server:
        yield server


class SlowCloud(FakeTarget):
    """A look-up in the background answers once ``may_answer`` is set, with ``answer`` if that is an error.
    ``refusals``: what the next connections end with; after the first one the look-up may answer."""

    def __init__(self, journal: EventLog, jupyter: JupyterServer, home: Path, *, pinned: bool = True) -> None:
        super().__init__(journal, PROFILE, server={"port": jupyter.port, "token": jupyter.token})
        self.may_answer = threading.Event()
        self.answer: Exception | None = None
        self.refusals: list[Exception] = []
        self.backend = GceBackend(PROFILE, StateDir(home), {}, ssh.Keys())
        if pinned:
            self.backend.state.known_hosts.write_text(PIN + "\n")

    def has_pinned_host_key(self, instance: Instance) -> bool:
        return self.backend.has_pinned_host_key(instance)

    def find(self, options: FindOptions) -> Instance:
        while options.in_background and not self.may_answer.wait(0.01):
            options.deadline.check()
        found = super().find(options)
        if options.in_background and self.answer is not None:
            raise self.answer
        return found

    def connect(self, instance: Instance, options: LoginOptions) -> FakeSession:
        if not self.refusals:
            return super().connect(instance, options)
        self._journal.did("refused")
        self.may_answer.set()
        raise self.refusals.pop(0)


class Again:
    def __init__(self, cloud: SlowCloud, journal: EventLog) -> None:
        self.cloud, self.journal, self.held = cloud, journal, Resources()

    def story(self, **more: Any) -> BringUpContext:
        return BringUpContext(
            client_id="laptop1",
            target=self.cloud,
            progress=FakeProgress(self.journal),
            prompt=nobody,
            record=self.journal.record,
            **{"previous": LAST_RUN, **more},
        )

    def up(self, **more: Any) -> None:
        seen = bring_up.ensure(self.story(**more), self.held, start=True, deadline=Deadline(60.0))
        assert seen.verdict == "ready"

    def answered(self) -> None:
        self.cloud.may_answer.set()
        look_up = self.held.lookup
        wait_until(lambda: look_up.result is not None, Deadline(10), every_s=0.01, what="the look-up")

    def did(self) -> list[str]:
        return [
            event for event in self.journal.events if not event.startswith(("step", "done", "record", "note", "detail"))
        ]


@pytest.fixture
def again(jupyter: JupyterServer, tmp_path: Path) -> Iterator[Again]:
    journal = EventLog()
    live = Again(SlowCloud(journal, jupyter, tmp_path), journal)
    yield live
    live.held.close()


def test_a_known_machine_is_entered_while_it_is_looked_up(again: Again) -> None:
    again.up()
    assert again.did() == ["connect", "ensure jupyter"]
    again.answered()
    assert not apply_lookup(again.held, FakeProgress(again.journal), again.journal.record)
    assert not apply_lookup(again.held, FakeProgress(again.journal), again.journal.record), "news is told once"
    assert again.held.is_connected()
    assert again.journal.recorded["instance"] == VM


def test_another_instance_under_the_name_is_gone_to_before_the_url_is_told(again: Again) -> None:
    again.cloud.found = replace(VM, id="43", address="127.0.0.1")
    again.cloud.may_answer.set()
    again.cloud.may_connect.clear()

    def let_in() -> None:
        again.cloud.connecting.wait(20)
        wait_until(lambda: again.held.lookup.result, Deadline(20), every_s=0.001, what="the look-up")
        again.cloud.may_connect.set()

    threading.Thread(target=let_in, daemon=True).start()
    again.up()
    assert again.did() == ["find", "connect", "ensure jupyter", "close session", "connect", "ensure jupyter"]
    assert again.journal.recorded["instance"].id == "43"
    assert any("was recreated" in event for event in again.journal.events)


def test_another_instance_under_the_name_is_gone_to_later_too(again: Again) -> None:
    again.up()
    again.cloud.found = replace(VM, id="43")
    again.answered()
    assert apply_lookup(again.held, FakeProgress(again.journal), again.journal.record)
    assert not again.held.is_connected()
    assert again.held.instance == again.cloud.found


def test_a_machine_that_is_not_where_it_was_is_found(again: Again) -> None:
    again.cloud.refusals = [SshError("host-key-changed", "a stranger has its address now")]
    again.cloud.found = replace(VM, address="127.0.0.1", zone="elsewhere")
    again.up()
    assert again.did() == ["refused", "find", "connect", "ensure jupyter"]
    assert again.held.instance == again.cloud.found


def test_a_machine_that_was_stopped_meanwhile_is_looked_up_by_those_who_may_start_it(again: Again) -> None:
    again.cloud.refusals = [SshError("ssh-unreachable", "no answer")]
    again.cloud.answer = CloudError("instance-stopped", "it is not running")
    again.up()
    assert again.did() == ["refused", "find", "find", "connect", "ensure jupyter"]


def test_without_a_pinned_host_key_the_machine_is_found_first(jupyter: JupyterServer, tmp_path: Path) -> None:
    journal = EventLog()
    live = Again(SlowCloud(journal, jupyter, tmp_path, pinned=False), journal)
    live.cloud.may_answer.set()
    live.up()
    live.held.close()
    assert live.did()[:2] == ["find", "connect"]


def test_a_look_up_that_nobody_waits_for_ends_with_the_runtime(again: Again) -> None:
    again.up()
    (look_up,) = [thread for thread in threading.enumerate() if thread.name == "look-up"]
    again.held.close()
    assert not look_up.is_alive()
    assert again.held.lookup.result is None
