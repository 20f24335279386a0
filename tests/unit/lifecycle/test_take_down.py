"""The story of `down`: what is ended, in which order, what is left alone, and what is told of what resists."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import psutil
import pytest

from remote_runtime.core.access import InstalledKey
from remote_runtime.core.creation import CloudResource
from remote_runtime.core.documents import take_down_document
from remote_runtime.core.errors import CloudError, DeadlinePassed, LocalError, MachineError, SshError
from remote_runtime.core.model import AttachedDisk, IdleWatchdog, Instance, Runtime, Secret, Server, TakeDownResult
from remote_runtime.core.profile import DemoTarget, GceTarget, LocalTarget, OnDownSettings, Profile, Target
from remote_runtime.lifecycle.resources import Resources
from remote_runtime.lifecycle.take_down import TakeDown, TakeDownOptions
from remote_runtime.tunnel import ports
from remote_runtime.tunnel.port_forwarder import PortForwarder
from tests.support.fakes import VM, EventLog, FakeProgress, FakeSession, FakeTarget, nobody

LISTENS = socket.create_server(("127.0.0.1", 0))
SERVER = Server(
    LISTENS.getsockname()[1], 77, Secret("ab" * 24), "/srv/work", True, "2.14.0", "0.1.0", "3.12.3", "/usr/bin/python3"
)
UP = Runtime("work", "/work.yaml", {"kind": "gce"}, "laptop1", "ready", instance=VM, server=SERVER, unfinished=False)
HALF = replace(UP, instance=replace(VM, started_from="TERMINATED"), unfinished=True)


class Scene:
    """A runtime that stands, with its connection."""

    def __init__(
        self, runtime: Runtime = UP, *, target: Target | None = None, on_down: OnDownSettings | None = None
    ) -> None:
        self.journal = EventLog()
        self.runtime = runtime
        profile = Profile(
            "work", Path("/work.yaml"), target or GceTarget(instance="my-vm"), on_down=on_down or OnDownSettings()
        )
        self.cloud = FakeTarget(self.journal, profile)
        self.allow: Callable[[str], bool] = lambda why: False
        self.questions: list[str] = []
        self.may_delete = True
        self.keys: list[tuple[InstalledKey, ...]] = []
        self.held = Resources(session=FakeSession(self.journal, self.cloud.server))

    def down(self, **wish: Any) -> TakeDownResult:
        return TakeDown(
            self.runtime,
            self.held,
            self.cloud,
            TakeDownOptions(**wish),
            progress=FakeProgress(self.journal),
            prompt=nobody,
            confirm=self.allow,
            confirm_deletion=self._answer,
            record=self.keys.append,
        ).run()

    def _answer(self, question: str) -> bool:
        self.questions.append(question)
        return self.may_delete

    @property
    def did(self) -> list[str]:
        return [event for event in self.journal.events if not event.startswith(("detail", "step"))]


def test_jupyter_is_stopped_before_the_connection_is_closed_and_the_instance_is_kept() -> None:
    scene = Scene()
    assert scene.down() == TakeDownResult("work", True, "stopped", "RUNNING")
    assert scene.did == ["stop jupyter", "close session", "release"]
    assert "step: Stopping Jupyter" in scene.journal.events


def test_busy_kernels_are_ended_by_who_may_say_so_only() -> None:
    scene = Scene()
    box = cast("FakeSession", scene.held.session)
    box.is_busy = True
    asked: list[str] = []

    def no(why: str) -> bool:
        asked.append(why)
        return False

    scene.allow = no
    with pytest.raises(LocalError) as refused:
        scene.down(purge=True, instance="stop")
    assert refused.value.code == "busy"
    assert asked == ["a kernel is busy"]
    assert scene.did == ["stop jupyter"], "nothing else was touched"
    assert not box.closed
    assert scene.down(force=True).server == "stopped"
    box.closed = False
    scene.allow = lambda why: True
    assert scene.down().server == "stopped"


def test_a_key_of_a_visit_that_is_refused_is_recorded_until_it_is_away() -> None:
    new = InstalledKey("metadata", "me", "ssh-ed25519 AAAA", 4_000_000_000, "my-vm", "42", "z", "p")
    scene = Scene()
    scene.held.session = None
    scene.cloud.needs_key, scene.cloud.is_busy = new, True
    scene.journal.fail["withdraw 1"] = CloudError("cloud-unreachable", "nothing answers")
    with pytest.raises(LocalError):
        scene.down()
    assert "withdraw 1" in scene.did
    assert scene.keys[-1] == (new,)
    scene.journal.fail.clear()
    scene.held.session = None
    with pytest.raises(LocalError):
        scene.down()
    assert not scene.keys[-1]


def test_the_ports_are_free_afterwards() -> None:
    scene = Scene()
    scene.held.forwarder = PortForwarder(ports.bind(None))
    scene.held.extra_forwarders = [PortForwarder(ports.bind(None), http=False)]
    bound = [front.port for front in scene.held.forwarders()]
    assert set(bound) <= listened_on()
    scene.down()
    assert set(bound).isdisjoint(listened_on())


def listened_on() -> set[int]:
    """The ports of this process: another one may take them as soon as they are free."""
    connections = psutil.Process().net_connections("tcp")
    return {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}


@pytest.mark.parametrize(
    ("wish", "on_down"), [({"keep_server": True}, OnDownSettings()), ({}, OnDownSettings(server="keep"))]
)
def test_a_server_that_shall_be_kept_is_kept(wish: dict[str, bool], on_down: OnDownSettings) -> None:
    scene = Scene(on_down=on_down)
    assert scene.down(**wish).server == "kept"
    assert "stop jupyter" not in scene.did


def test_no_server_is_kept_on_an_instance_that_is_stopped() -> None:
    scene = Scene(on_down=OnDownSettings(server="keep", instance="stop"))
    cast("FakeSession", scene.held.session).is_busy = True
    with pytest.raises(LocalError) as busy:
        scene.down()
    assert busy.value.code == "busy"
    assert "stop instance" not in scene.did, "its kernels would end"
    cast("FakeSession", scene.held.session).is_busy = False
    assert scene.down() == TakeDownResult("work", True, "stopped", "TERMINATED")


def test_of_a_server_that_is_kept_and_has_ended_nothing_is_claimed() -> None:
    end = Scene(replace(UP, server=replace(SERVER, port=1))).down(keep_server=True)
    assert (end.server, end.checked) == ("kept", False)
    assert any("did not respond" in note for note in end.notes)


def test_a_server_is_kept_on_an_instance_that_is_suspended() -> None:
    scene = Scene(on_down=OnDownSettings(server="keep", instance="suspend"))
    assert scene.down() == TakeDownResult("work", True, "kept", "SUSPENDED")


def test_a_server_that_is_kept_by_who_takes_it_down_keeps_the_instance() -> None:
    scene = Scene(on_down=OnDownSettings(instance="stop"))
    assert scene.down(keep_server=True) == TakeDownResult("work", True, "kept", "RUNNING")


def test_a_server_is_not_kept_where_up_never_succeeded() -> None:
    scene = Scene(HALF, on_down=OnDownSettings(server="keep"))
    assert scene.down(keep_server=True).server == "stopped"


ENDS: list[tuple[Literal["stop", "suspend"] | None, OnDownSettings, str | None]] = [
    ("stop", OnDownSettings(), "TERMINATED"),
    ("suspend", OnDownSettings(), "SUSPENDED"),
    (None, OnDownSettings(instance="stop"), "TERMINATED"),
    (None, OnDownSettings(instance="suspend"), "SUSPENDED"),
    ("suspend", OnDownSettings(instance="stop"), "SUSPENDED"),
]


@pytest.mark.parametrize(("asked", "on_down", "status"), ENDS)
def test_the_command_and_then_the_profile_say_what_becomes_of_the_instance(
    asked: Literal["stop", "suspend"] | None, on_down: OnDownSettings, status: str
) -> None:
    scene = Scene(on_down=on_down)
    assert scene.down(instance=asked) == TakeDownResult("work", True, "stopped", status)
    action = {"TERMINATED": "stop", "SUSPENDED": "suspend"}[status]
    assert scene.did == ["stop jupyter", "close session", f"{action} instance", "release"]


def test_an_instance_that_an_unfinished_up_started_is_put_back() -> None:
    scene = Scene(HALF)
    assert scene.down() == TakeDownResult("work", True, "stopped", "TERMINATED")
    assert scene.did == ["stop jupyter", "close session", "put back to TERMINATED", "release"]


def test_what_is_asked_for_wins_over_putting_back() -> None:
    scene = Scene(HALF)
    assert scene.down(instance="suspend").instance == "SUSPENDED"
    assert "put back to TERMINATED" not in scene.did


def test_an_instance_that_was_started_by_an_up_that_succeeded_is_kept() -> None:
    scene = Scene(replace(HALF, unfinished=False))
    assert scene.down().instance == "RUNNING"
    assert scene.did == ["stop jupyter", "close session", "release"]


def test_a_lost_connection_is_made_anew_to_stop_jupyter() -> None:
    scene = Scene()
    scene.held.session = None
    assert scene.down().server == "stopped"
    assert scene.did == ["connect", "stop jupyter", "close session", "release"]
    assert "step: Connecting to my-vm" in scene.journal.events


def test_a_machine_that_cannot_be_entered_leaves_a_server_that_may_run() -> None:
    scene = Scene()
    scene.held.session = None
    scene.journal.fail["connect"] = SshError("ssh-unreachable", "nothing answers", "timed out")
    end = scene.down()
    assert (end.server, end.instance) == ("unknown", "RUNNING")
    assert end.remains == ("Jupyter may still be running: nothing answers: timed out",)
    assert "read instance" in scene.did, "the cloud is asked whether it runs at all"


@pytest.mark.parametrize("status", ["TERMINATED", "STOPPING", "STOPPED"])
def test_a_machine_that_is_found_off_has_no_server_left(status: str) -> None:
    scene = Scene()
    scene.held.session = None
    scene.cloud.status = status
    scene.journal.fail["connect"] = SshError("ssh-unreachable", "nothing answers")
    assert scene.down() == TakeDownResult("work", True, "gone", status)


def test_a_machine_that_was_deleted_meanwhile_has_nothing_left() -> None:
    scene = Scene()
    scene.held.session = None
    scene.journal.fail["connect"] = SshError("ssh-unreachable", "nothing answers")
    scene.journal.fail["read instance"] = CloudError("instance-not-found", "it is not there")
    assert scene.down() == TakeDownResult("work", True, "gone", "GONE")


def test_stopping_the_instance_ends_a_server_that_could_not_be_reached() -> None:
    scene = Scene()
    scene.journal.fail["stop jupyter"] = MachineError("jupyter-did-not-stop", "it resists")
    assert scene.down(instance="stop") == TakeDownResult("work", True, "gone", "TERMINATED")


def test_everything_that_fails_is_told_and_nothing_keeps_the_rest_from_its_turn() -> None:
    scene = Scene(HALF)
    scene.journal.fail["stop jupyter"] = MachineError("jupyter-did-not-stop", "it resists", "pid 77")
    scene.journal.fail["put back to TERMINATED"] = CloudError("permission-denied", "not allowed")
    scene.journal.fail["release"] = DeadlinePassed("ending it took too long")
    end = scene.down()
    assert scene.did == ["stop jupyter", "close session", "put back to TERMINATED", "release"]
    assert (end.server, end.instance) == ("unknown", "RUNNING")
    assert end.remains == (
        "Jupyter may still be running: it resists: pid 77",
        "my-vm may still be running and billing: not allowed",
        "the demo machine may still be running: ending it took too long",
    )


def test_purging_removes_our_folder_after_the_server() -> None:
    scene = Scene()
    assert scene.down(purge=True).remains == ()
    assert scene.did == ["stop jupyter", "purge jupyter", "close session", "release"]


def test_a_folder_that_others_use_stays_and_is_told() -> None:
    scene = Scene()
    scene.held.session = FakeSession(scene.journal, {}, purged={"purged": False, "alive": ["other-laptop2"]})
    assert scene.down(purge=True) == TakeDownResult(
        "work",
        True,
        "stopped",
        "RUNNING",
        ("~/.local/share/remote-runtime stays on the machine: in use by other-laptop2",),
    )


@pytest.mark.parametrize(
    ("status", "reboot", "told"), [("TERMINATED", "cron", 1), ("TERMINATED", "", 0), ("GONE", "cron", 0)]
)
def test_an_idle_watch_on_the_disk_of_a_vm_that_is_off_is_told(status: str, reboot: str, told: int) -> None:
    guard = IdleWatchdog(7200.0, "stop-instance", "power-off", "stop", "", reboot)
    scene = Scene(replace(UP, instance=replace(VM, status=status), server=replace(SERVER, idle=guard)))
    scene.cloud.status = status
    end = scene.down()
    assert (end.server, end.remains, len(end.notes)) == ("gone", (), told)
    assert all(
        "it is stopped after 2h without activity" in note and "`remote-runtime up PROFILE`" in note
        for note in end.notes
    )
    assert take_down_document(end).get("notes", []) == list(end.notes)


def test_a_runtime_whose_machine_was_never_found_has_nothing_to_end() -> None:
    scene = Scene(replace(UP, instance=None, server=None, unfinished=True))
    scene.held.session = None
    assert scene.down(instance="stop") == TakeDownResult("work", True, "unknown", None), "nobody has looked"
    assert scene.did == ["release"]


def test_a_machine_that_was_off_once_is_looked_at_again() -> None:
    scene = Scene(replace(UP, instance=replace(VM, status="TERMINATED")))
    scene.held.session = None
    assert scene.down() == TakeDownResult("work", True, "stopped", "RUNNING")
    assert scene.did[:3] == ["read instance", "connect", "stop jupyter"]


def test_nothing_is_said_of_an_instance_that_could_not_be_looked_at() -> None:
    scene = Scene(on_down=OnDownSettings(server="keep"))
    scene.held.session = None
    scene.journal.fail["read instance"] = CloudError("cloud-unreachable", "nothing answers")
    end = scene.down()
    assert (end.server, end.checked, end.instance) == ("kept", False, "UNKNOWN")
    assert "nothing answers" in end.notes[0]
    assert take_down_document(end)["server_checked"] is False


@pytest.mark.parametrize("kind", ["ssh", "local"])
def test_a_machine_that_is_no_clouds_has_no_status(kind: Literal["ssh", "local"]) -> None:
    scene = Scene(
        replace(UP, instance=Instance(kind, "gpu")), target=LocalTarget(), on_down=OnDownSettings(instance="stop")
    )
    assert scene.down() == TakeDownResult("work", True, "stopped", None)


def test_the_demo_machine_is_ended_last() -> None:
    demo = replace(UP, instance=replace(VM, kind="demo"))
    scene = Scene(demo, target=DemoTarget())
    assert scene.down() == TakeDownResult("work", True, "stopped", "GONE")
    assert scene.did == ["stop jupyter", "close session", "release"]


def test_on_a_demo_machine_that_is_gone_nothing_is_stopped() -> None:
    scene = Scene(replace(UP, instance=replace(VM, kind="demo")), target=DemoTarget())
    scene.cloud.there = False
    assert scene.down() == TakeDownResult("work", True, "gone", "GONE")
    assert "stop jupyter" not in scene.did


OWN = replace(VM, created_by="c0ffee", zone="us-central1-a", disks=(AttachedDisk("my-vm", 100, True),))
MADE = CloudResource("instance", "my-vm", "my-project", "us-central1-a", "2026-01-01T00:00:00+00:00")


def of(instance: Instance, **facts: Any) -> Scene:
    scene = Scene(replace(UP, instance=instance, client_id="c0ffee", **facts))
    scene.cloud.found = instance
    return scene


def test_a_vm_that_up_created_is_deleted_after_a_question_that_names_its_disks() -> None:
    data = AttachedDisk("data", 500, False)
    scene = of(replace(OWN, disks=(*OWN.disks, data)))
    assert scene.down(instance="delete").instance == "DELETED"
    question = "Delete my-vm in us-central1-a with its disk my-vm (100 GB)? data (500 GB) will remain"
    assert scene.questions == [question]
    assert scene.did[0] == "read instance", "nothing is touched before the question"
    assert "delete instance my-vm in us-central1-a" in scene.did


def test_no_is_an_answer_and_changes_nothing() -> None:
    scene = of(OWN)
    scene.may_delete = False
    with pytest.raises(LocalError):
        scene.down(instance="delete")
    assert scene.did == ["read instance"]


@pytest.mark.parametrize(("label", "words"), [("", "`up` did not create it"), ("other", "another runtime created it")])
def test_a_vm_without_the_label_of_this_runtime_is_never_deleted(label: str, words: str) -> None:
    scene = of(replace(OWN, created_by=label))
    with pytest.raises(CloudError) as caught:
        scene.down(instance="delete")
    assert (caught.value.code, caught.value.why) == ("not-created-here", words)
    assert scene.questions == []
    assert scene.did == ["read instance"]


def test_what_an_unfinished_up_created_is_deleted_without_a_question() -> None:
    for instance in (OWN, None):
        scene = Scene(replace(UP, instance=instance, server=None, unfinished=True, resources=(MADE,)))
        assert scene.down().instance == "DELETED"
        assert scene.questions == []
        assert "stop jupyter" not in scene.did
        assert "delete instance my-vm in us-central1-a" in scene.did


@pytest.mark.parametrize("asked", [None, "delete"])
def test_the_vm_that_an_unfinished_up_was_to_move_stays(asked: Literal["delete"] | None) -> None:
    old = replace(OWN, status="TERMINATED", started_from="TERMINATED")
    made = (replace(MADE, kind="snapshot", zone=""), replace(MADE, zone="us-central1-b"))
    scene = Scene(replace(UP, instance=old, server=None, unfinished=True, resources=made))
    scene.cloud.status, scene.cloud.deletion = "TERMINATED", ("deleted", "gone")
    assert scene.down(instance=asked).instance == "TERMINATED"
    (deleted,) = [event for event in scene.did if event.startswith("delete")]
    assert deleted == "delete snapshot my-vm in , instance my-vm in us-central1-b"


def test_a_deletion_that_fails_remains_and_says_so() -> None:
    scene = of(OWN)
    scene.cloud.deletion = CloudError("cloud-unreachable", "Can't reach the API", "offline")
    result = scene.down(instance="delete")
    assert result.instance == "UNKNOWN"
    assert "my-vm may still exist and cost money" in result.remains[0]


def test_what_a_stopped_vm_still_costs_is_said() -> None:
    scene = of(replace(OWN, via="external", address="203.0.113.7"), resources=(replace(MADE, kind="snapshot"),))
    (note,) = scene.down(instance="stop").notes
    assert note == (
        "Still billed: disk my-vm (100 GB), reserved address 203.0.113.7, snapshot my-vm. "
        "`remote-runtime down PROFILE --delete-instance` deletes the VM"
    )
