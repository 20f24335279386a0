"""The story of `up`: its order, what is taken back when it fails and in which order, and what a repair skips."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import (
    CloudError,
    DeadlinePassed,
    Interrupted,
    MachineError,
    RemoteRuntimeError,
    SshError,
)
from remote_runtime.core.model import Instance, Runtime
from remote_runtime.core.profile import (
    COLAB_ORIGIN,
    ColabSettings,
    ExtraForward,
    ForwardSettings,
    GceTarget,
    Profile,
    Timeouts,
)
from remote_runtime.launcher.protocol import CommandNotRun
from remote_runtime.lifecycle import bring_up
from remote_runtime.lifecycle.context import BringUpContext
from remote_runtime.lifecycle.resources import Resources
from tests.support.environment.waiting import free_port
from tests.support.fakes import VM, EventLog, FakeProgress, FakeTarget, nobody
from tests.support.servers.jupyter import JupyterServer, jupyter_server

PROFILE = Profile(
    "work",
    Path("/work.yaml"),
    GceTarget(instance="my-vm"),
    colab=ColabSettings((COLAB_ORIGIN,)),
    timeouts=Timeouts(ready_s=20.0),
)
STEPS = (
    "Finding my-vm",
    "Starting my-vm",
    "Connecting to my-vm",
    "Starting Jupyter",
    "Forwarding localhost:{port}",
    "Verifying the connection",
)
NO_SERVER = replace(PROFILE, timeouts=Timeouts(ready_s=0.2))


@pytest.fixture(scope="module")
def jupyter() -> Iterator[JupyterServer]:
    with jupyter_server() as server:
        yield server


@pytest.fixture
def journal() -> EventLog:
    return EventLog()


@pytest.fixture
def held() -> Iterator[Resources]:
    live = Resources()
    yield live
    live.close()


def cloud_of(journal: EventLog, jupyter: JupyterServer, **more: Any) -> FakeTarget:
    return FakeTarget(journal, server={"port": jupyter.port, "token": jupyter.token}, **more)


def ensure(
    journal: EventLog,
    cloud: FakeTarget,
    held: Resources,
    profile: Profile = PROFILE,
    *,
    start: bool = True,
    called_off: threading.Event | None = None,
    **more: Any,
) -> None:
    cloud.profile = profile
    story = BringUpContext(
        client_id="laptop1",
        target=cloud,
        progress=FakeProgress(journal),
        prompt=nobody,
        record=journal.record,
        **more,
    )
    seen = bring_up.ensure(story, held, start=start, deadline=Deadline(60.0, called_off))
    assert seen.verdict == "ready"


def fails(journal: EventLog, cloud: FakeTarget, held: Resources, profile: Profile = NO_SERVER, **more: Any) -> Any:
    with pytest.raises(RemoteRuntimeError) as caught:
        ensure(journal, cloud, held, profile, **more)
    return caught.value


def kinds(events: list[str]) -> list[str]:
    """Without the sentences of the steps."""
    return ["step" if event.startswith("step: ") else event for event in events]


# ── when all goes well ──


def test_each_step_is_told_and_so_is_each_that_is_undone(journal: EventLog, held: Resources) -> None:
    fails(journal, FakeTarget(journal, starts_from="TERMINATED"), held)
    undone = ("Undoing: stopping Jupyter", "Undoing: putting my-vm back to TERMINATED")
    assert [event for event in journal.events if event.startswith("step")] == [
        f"step: {each}".format(port=journal.recorded["local_port"]) for each in STEPS + undone
    ]


def test_the_story_is_told_and_recorded_in_its_order(
    journal: EventLog, held: Resources, jupyter: JupyterServer
) -> None:
    ensure(journal, cloud_of(journal, jupyter, starts_from="TERMINATED"), held)
    assert kinds(journal.events) == [
        "record local_port",
        "step",
        "step",
        "record instance",
        "find",
        "record instance",
        "done: Started my-vm in z",
        "step",
        "connect",
        "done: Connected over SSH, host key verified",
        "step",
        "record folder",
        "ensure jupyter",
        "detail: Jupyter runs in /usr/bin/python3",
        "done: Started Jupyter (Python 3.12)",
        "record server",
        "step",
        "record forwards local_host",
        "step",
        f"done: Forwarding localhost:{journal.recorded['local_port']}, verified as Colab sees it",
    ]
    assert held.forwarder is not None
    assert journal.recorded["local_port"] == held.forwarder.port
    assert journal.recorded["instance"].started_from == "TERMINATED"
    assert journal.recorded["server"].token.reveal() == jupyter.token
    (forward,) = journal.recorded["forwards"]
    assert (forward.local, forward.remote) == (held.forwarder.port, f"127.0.0.1:{jupyter.port}")


def test_what_still_holds_is_skipped(journal: EventLog, held: Resources, jupyter: JupyterServer) -> None:
    cloud = cloud_of(journal, jupyter)
    ensure(journal, cloud, held)
    front, session, way = held.forwarder, held.session, held.upstream
    journal.events.clear()
    ensure(journal, cloud, held)
    assert (held.forwarder, held.session, held.upstream) == (front, session, way)
    assert not any(event.startswith("done") for event in journal.events), "nothing was done that could be shown"
    assert [event for event in journal.events if not event.startswith(("step", "record", "detail"))] == [
        "ensure jupyter"
    ]
    assert "step: Connecting to my-vm" not in journal.events


def test_a_connection_that_died_is_made_anew_without_a_look_up_while_clients_wait(
    journal: EventLog, held: Resources, jupyter: JupyterServer
) -> None:
    cloud = cloud_of(journal, jupyter)
    ensure(journal, cloud, held)
    journal.events.clear()
    cloud.connecting.clear()
    cloud.may_connect.clear()
    cloud.sessions[0].closed = True
    assert held.forwarder is not None
    repair = threading.Thread(target=ensure, args=(journal, cloud, held), kwargs={"start": False})
    repair.start()
    assert cloud.connecting.wait(20)
    with socket.create_connection(("127.0.0.1", held.forwarder.port), timeout=20) as client:
        client.sendall(b"GET /api HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        cloud.may_connect.set()
        client.settimeout(20)
        assert client.recv(12) == b"HTTP/1.1 200"
    repair.join(20)
    assert "find" not in journal.events
    assert journal.events.count("connect") == 1


def test_a_server_on_another_port_gets_a_new_way_over_the_same_connection(
    journal: EventLog, held: Resources, jupyter: JupyterServer
) -> None:
    cloud = cloud_of(journal, jupyter)
    cloud.server["port"] = 1
    fails(journal, cloud, held)
    cloud.server["port"] = jupyter.port
    ensure(journal, cloud, held)
    assert held.upstream is not None
    assert held.upstream.address == ("127.0.0.1", jupyter.port)


def test_extra_forwards_lead_to_their_own_ports(journal: EventLog, held: Resources, jupyter: JupyterServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as service:
        extra = ExtraForward(free_port(), service.getsockname()[1])
        ensure(journal, cloud_of(journal, jupyter), held, replace(PROFILE, forward=ForwardSettings(extra=(extra,))))
        with socket.create_connection(("127.0.0.1", extra.local_port), timeout=20) as client:
            client.sendall(b"ping")
            answering, _ = service.accept()
            with answering:
                assert answering.recv(4) == b"ping"
    assert [(forward.local, forward.remote) for forward in journal.recorded["forwards"][1:]] == [
        (extra.local_port, f"127.0.0.1:{extra.remote_port}")
    ]


def test_what_a_person_should_know_of_the_server_is_noted(
    journal: EventLog, held: Resources, jupyter: JupyterServer
) -> None:
    cloud = cloud_of(journal, jupyter)
    cloud.server["notes"] = ["torch is missing there"]
    ensure(journal, cloud, held)
    assert "note: torch is missing there" in journal.events


def test_a_remembered_port_that_is_taken_now_is_noted(
    journal: EventLog, held: Resources, jupyter: JupyterServer
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ensure(journal, cloud_of(journal, jupyter), held, remembered_port=port)
    assert held.forwarder is not None
    assert journal.events[-2:] == [
        f"done: Forwarding localhost:{held.forwarder.port}, verified as Colab sees it",
        f"note: Port {port} is in use; using {held.forwarder.port}",
    ]


def test_a_remembered_port_that_the_profile_no_longer_allows_is_not_called_taken(
    journal: EventLog, held: Resources, jupyter: JupyterServer
) -> None:
    wanted = free_port()
    for local_port in (wanted, (wanted, wanted + 20)):
        profile = replace(PROFILE, forward=ForwardSettings(local_port=local_port))
        ensure(journal, cloud_of(journal, jupyter), held, profile, remembered_port=1)
        held.close()
    assert [event for event in journal.events if event.startswith("note")] == []


# ── when it fails ──


def test_a_taken_port_fails_before_anything_is_begun(journal: EventLog, held: Resources) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        profile = replace(NO_SERVER, forward=ForwardSettings(local_port=taken.getsockname()[1]))
        error = fails(journal, FakeTarget(journal), held, profile)
    assert (error.code, error.remains) == ("port-in-use", ())
    assert journal.events == []


def test_a_taken_port_of_an_extra_forward_frees_the_others(journal: EventLog, held: Resources) -> None:
    free = [free_port(), free_port()]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        extra = tuple(ExtraForward(port, 1) for port in (free[1], taken.getsockname()[1]))
        profile = replace(NO_SERVER, forward=ForwardSettings(local_port=free[0], extra=extra))
        assert fails(journal, FakeTarget(journal), held, profile).code == "port-in-use"
    for port in free:
        socket.create_server(("127.0.0.1", port)).close()
    assert held.forwarders() == []


UNDONE = [
    (
        "find",
        ["step", "put back to TERMINATED", "record instance"],
    ),
    (
        "connect",
        ["step", "put back to TERMINATED", "record instance"],
    ),
    (
        "ensure jupyter",  # what the launcher was told to start may run
        [
            "step",
            "stop jupyter",
            "record server folder",
            "step",
            "put back to TERMINATED",
            "record instance",
            "close session",
        ],
    ),
]


@pytest.mark.parametrize(("step", "undone"), UNDONE, ids=[step for step, _ in UNDONE])
def test_what_was_done_before_a_step_that_fails_is_taken_back(
    journal: EventLog, held: Resources, step: str, undone: list[str]
) -> None:
    journal.fail[step] = CloudError("cloud-unreachable", "it failed")
    error = fails(journal, FakeTarget(journal, starts_from="TERMINATED"), held)
    assert (error.code, error.remains) == ("cloud-unreachable", ())
    assert kinds(journal.since(step)) == undone
    assert held.forwarders() == []
    assert held.session is None
    port_is_free(journal)


def test_nothing_is_stopped_where_nothing_that_was_sent_was_run(journal: EventLog, held: Resources) -> None:
    journal.fail["ensure jupyter"] = CommandNotRun("ssh-refused", "The login files take the input")
    error = fails(journal, FakeTarget(journal, starts_from="TERMINATED"), held)
    assert (error.code, error.remains) == ("ssh-refused", ())
    assert "stop jupyter" not in journal.since("ensure jupyter")
    assert "put back to TERMINATED" in journal.since("ensure jupyter")


def test_a_path_that_does_not_work_is_taken_back_from_its_end_to_its_beginning(
    journal: EventLog, held: Resources
) -> None:
    cloud = FakeTarget(journal, starts_from="SUSPENDED")
    cloud.there = False
    error = fails(journal, cloud, held)
    assert error.code == "ssh-refused"
    assert kinds(journal.since(f"step: {STEPS[-1]}")) == [
        "step",
        "stop jupyter",
        "record server folder",
        "step",
        "put back to SUSPENDED",
        "record instance",
        "release",
        "close session",
    ]
    port_is_free(journal)


def test_a_server_that_ran_before_keeps_running(journal: EventLog, held: Resources) -> None:
    cloud = FakeTarget(journal)
    cloud.server["started_by_us"] = False
    fails(journal, cloud, held)
    assert "stop jupyter" not in journal.events


def test_a_machine_that_ran_before_keeps_running(journal: EventLog, held: Resources) -> None:
    fails(journal, FakeTarget(journal), held)
    assert not any(event.startswith(("put back", "release")) for event in journal.events)


@pytest.mark.parametrize("broken", ["stop jupyter", "put back to TERMINATED", "release"])
def test_an_undo_that_fails_is_told_and_does_not_stop_the_others(
    journal: EventLog, held: Resources, broken: str
) -> None:
    journal.fail[broken] = MachineError("machine-busy", "somebody works there")
    cloud = FakeTarget(journal, starts_from="TERMINATED")
    cloud.there = False
    error = fails(journal, cloud, held)
    (remains,) = error.remains
    assert remains.endswith("failed: somebody works there")
    assert [event for event in journal.events if event.startswith(("stop", "put back", "release", "close"))] == [
        "stop jupyter",
        "put back to TERMINATED",
        "release",
        "close session",
    ]
    port_is_free(journal)


def test_undoes_that_fail_are_told_in_the_order_they_were_tried(journal: EventLog, held: Resources) -> None:
    journal.fail["stop jupyter"] = SshError("ssh-unreachable", "the line is dead")
    journal.fail["put back to TERMINATED"] = DeadlinePassed("stopping took too long")
    error = fails(journal, FakeTarget(journal, starts_from="TERMINATED"), held)
    assert error.code == "ssh-refused", "the first error is the one that is told"
    assert error.remains == (
        "stopping Jupyter failed: the line is dead",
        "putting my-vm back to TERMINATED failed: stopping took too long",
    )


def test_a_bug_in_an_undo_does_not_keep_a_machine_running_that_costs_money(journal: EventLog, held: Resources) -> None:
    journal.fail["stop jupyter"] = ZeroDivisionError("a bug")
    error = fails(journal, FakeTarget(journal, starts_from="TERMINATED"), held)
    assert "stopping Jupyter failed" in error.remains[0]
    assert "put back to TERMINATED" in journal.events
    port_is_free(journal)


def test_a_bug_in_the_story_undoes_it_too(journal: EventLog, held: Resources) -> None:
    journal.fail["ensure jupyter"] = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        ensure(journal, FakeTarget(journal, starts_from="TERMINATED"), held)
    assert "put back to TERMINATED" in journal.events
    assert held.session is None
    port_is_free(journal)


def test_work_that_is_called_off_is_undone_in_time_of_its_own(journal: EventLog, held: Resources) -> None:
    called_off = threading.Event()
    called_off.set()
    with pytest.raises(Interrupted):
        ensure(journal, FakeTarget(journal, starts_from="TERMINATED"), held, called_off=called_off)
    assert journal.events[-2:] == ["put back to TERMINATED", "record instance"]


def test_a_repair_that_fails_takes_back_nothing_of_the_past_and_keeps_the_port(
    journal: EventLog, held: Resources, jupyter: JupyterServer
) -> None:
    cloud = cloud_of(journal, jupyter, starts_from="TERMINATED")
    ensure(journal, cloud, held)
    journal.events.clear()
    cloud.sessions[0].closed = True
    journal.fail["connect"] = SshError("ssh-unreachable", "no answer")
    assert fails(journal, cloud, held, PROFILE, start=False).remains == ()
    assert [event for event in journal.events if not event.startswith(("step", "record"))] == ["connect"]
    assert held.forwarder is not None
    del journal.fail["connect"]
    ensure(journal, cloud, held, start=False)
    url = f"http://127.0.0.1:{held.forwarder.port}/api"
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert answer.status == 200


def test_the_error_of_a_machine_that_cannot_be_entered_is_the_clouds_reason_where_that_is_wanted(
    journal: EventLog, held: Resources
) -> None:
    cloud = FakeTarget(journal)
    cloud.reason = CloudError("firewall-blocked", "no answer", "the firewall lets nobody in")
    journal.fail["connect"] = SshError("ssh-unreachable", "no answer")
    assert fails(journal, cloud, held).code == "firewall-blocked"
    assert fails(journal, cloud, held, single_attempt=True).code == "ssh-unreachable"


# ── what an earlier keeper owes ──


def unfinished(instance: Instance) -> Runtime:
    return Runtime("work", "/work.yaml", {}, "laptop1", instance=instance, unfinished=True)


def test_an_instance_that_an_earlier_keeper_started_is_put_back_when_this_one_fails(
    journal: EventLog, held: Resources
) -> None:
    owed = replace(VM, started_from="TERMINATED")
    journal.fail["connect"] = SshError("ssh-unreachable", "no answer")
    fails(journal, FakeTarget(journal), held, previous=unfinished(owed))
    assert journal.events[-2:] == ["put back to TERMINATED", "record instance"]
    assert journal.recorded["instance"].started_from is None


def test_an_instance_that_had_to_be_started_again_is_put_back_to_what_it_was_now(
    journal: EventLog, held: Resources
) -> None:
    journal.fail["connect"] = SshError("ssh-unreachable", "no answer")
    owed = replace(VM, started_from="TERMINATED")
    fails(journal, FakeTarget(journal, starts_from="SUSPENDED"), held, previous=unfinished(owed))
    assert [event for event in journal.events if event.startswith("put back")] == ["put back to SUSPENDED"]


def test_nothing_is_owed_for_an_instance_that_ran(journal: EventLog, held: Resources) -> None:
    journal.fail["connect"] = SshError("ssh-unreachable", "no answer")
    fails(journal, FakeTarget(journal), held, previous=unfinished(VM))
    assert not any(event.startswith("put back") for event in journal.events)


def port_is_free(journal: EventLog) -> None:
    socket.create_server(("127.0.0.1", journal.recorded["local_port"])).close()
