"""`profiles new`: with a person at a terminal, with flags alone, and what it writes."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_runtime import profiles
from remote_runtime.core.profile import GceTarget, LocalTarget, SshTarget
from remote_runtime.demo.gcp_api.values import Vm
from tests.support.clients.terminal_user import Person, at_a_terminal
from tests.support.environment.world import COMMAND, World
from tests.support.faults.faulty_emulator import FaultyEmulator

TRAIN = Vm(
    "train", project="vision-lab", zone="europe-west4-a", status="RUNNING", labels={"team": "vision"},
    machine_type="g2-standard-24", accelerator="nvidia-l4",
)  # fmt: skip
WIZARD = [*COMMAND, "profiles", "new"]


@pytest.fixture
def cloud(world: World) -> Iterator[FaultyEmulator]:
    many = [Vm(f"node-{number:02}", project="big-project") for number in range(30)]
    with FaultyEmulator([TRAIN, Vm("idle-box", project="vision-lab"), *many]) as emulator:
        world.environ |= {
            "REMOTE_RUNTIME_CONFIG_DIR": str(world.home / "config"),
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.endpoint,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER": emulator.root,
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CONFIG": str(world.home / "gcloud"),
        }
        yield emulator


def written(world: World) -> list[Path]:
    return sorted((world.home / "config").rglob("*"))


def answer(person: Person, question: str, text: str) -> str:
    seen = person.sees(question)
    person.types(text)
    return seen


def test_a_vm_is_chosen_from_what_the_cloud_lists(world: World, cloud: FaultyEmulator) -> None:
    with at_a_terminal(WIZARD, world.environ) as person:
        answer(person, "Which machine?", "")
        assert "vision-lab" in answer(person, "Project (number or name)", "vision-lab")
        listed = answer(person, "Instance (number or name)", "2")
        answer(person, "costs money while it runs", "y")
        answer(person, "(2h, or never) [never]", "2 weeks")
        assert "is not a duration" in answer(person, "(2h, or never) [never]", "2h")
        answer(person, "Name of the profile [train]", "")
        person.sees("Written: ")
        answer(person, "Bring train up now? [Y/n]", "n")
        assert person.waits() == 0

    rows = [line.split() for line in listed.splitlines()]
    assert ["2", "train", "europe-west4-a", "RUNNING", "1", "nvidia-l4", "team=vision"] in rows
    assert any(row[:4] == ["1", "idle-box", "us-central1-a", "TERMINATED"] for row in rows)
    path = world.home / "config" / "profiles" / "train.yaml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    profile = profiles.load(str(path))
    assert profile.target == GceTarget("train", project="vision-lab", zone="europe-west4-a")
    assert (profile.on_down.instance, profile.idle.after_s) == ("stop", 7200.0)
    assert "# g2-standard-24 with 1 nvidia-l4" in path.read_text()
    assert max(map(len, path.read_text().splitlines())) < 80
    assert str(path) in world.run("profiles", "show", "train").out


def test_a_long_list_is_narrowed_by_a_part_of_the_name(world: World, cloud: FaultyEmulator) -> None:
    with at_a_terminal([*WIZARD, "--project", "big-project"], world.environ) as person:
        first = answer(person, "Instance (number or name)", "node-2")
        narrowed = answer(person, "Instance (number or name)", "node-27")
        answer(person, "costs money", "")
        answer(person, "(2h, or never)", "")
        answer(person, "Name of the profile [node-27]", "\x03")
        assert person.waits() == 130
    assert "10 more of 30" in first
    assert "node-19" not in narrowed
    assert "28  node-27" in narrowed
    assert re.search(r"\nerror.*no profile was written", person.shown, re.DOTALL), "on a line of its own"
    assert written(world) == []


def test_ctrl_c_while_the_cloud_is_asked_leaves_nothing(world: World, cloud: FaultyEmulator) -> None:
    cloud.latency_s = 30.0
    with at_a_terminal([*WIZARD, "--project", "vision-lab"], world.environ) as person:
        person.sees("Looking for the instances of vision-lab")
        person.types("\x03", enter=False)
        assert person.waits() == 130
    assert written(world) == []
    assert world.running() == []


def test_without_credentials_the_command_is_told_and_names_can_be_typed(world: World, cloud: FaultyEmulator) -> None:
    del world.environ["CLOUDSDK_AUTH_DISABLE_CREDENTIALS"]
    world.environ["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"] = str(world.home / "missing")
    with at_a_terminal([*WIZARD, "--kind", "gce"], world.environ) as person:
        told = answer(person, "Project ID", "Wrong Name")
        assert "gcloud auth print-access-token" in told
        assert "credentials'" not in told, "there are none"
        assert "6 to 30 lower-case letters" in answer(person, "Project ID", "my-project")
        answer(person, "Name of the instance", "my-vm")
        answer(person, "Its zone", "us-central1")
        assert "is a region, not a zone" in answer(person, "Its zone", "")
        answer(person, "costs money", "")
        answer(person, "(2h, or never)", "")
        answer(person, "Name of the profile [my-vm]", "work")
        answer(person, "Bring work up now?", "\x04")
        assert person.waits() == 0
    assert profiles.load(str(written(world)[-1])).target == GceTarget("my-vm", project="my-project")


def test_projects_that_may_not_be_listed_are_typed_and_their_instances_listed(
    world: World, cloud: FaultyEmulator
) -> None:
    cloud.forbidden_permissions.add("resourcemanager.projects.list")
    with at_a_terminal([*WIZARD, "--kind", "gce"], {**world.environ, "GOOGLE_CLOUD_PROJECT": "vision-lab"}) as person:
        told = answer(person, "Project ID [vision-lab]", "")
        assert "Your projects cannot be listed: The projects may not be listed: Required" in told
        assert "idle-box" in answer(person, "Instance (number or name)", "\x03")
        assert person.waits() == 130


def test_a_host_is_chosen_from_the_ssh_config(world: World, cloud: FaultyEmulator) -> None:
    folder = world.home / ".ssh"
    folder.mkdir(mode=0o700)
    (folder / "config").write_text("Host gpu box-*\n  HostName 10.1.2.3\nInclude more\nHost *\n  User me\n")
    (folder / "more").write_text("Host far\n")
    with at_a_terminal(WIZARD, world.environ) as person:
        answer(person, "Which machine?", "ssh")
        listed = answer(person, "Host (number or name)", "1")
        answer(person, "Name of the profile [gpu]", "")
        answer(person, "Bring gpu up now?", "n")
        assert person.waits() == 0
    assert [line.split() for line in listed.splitlines() if line[:1].isdecimal()] == [
        ["1", "gpu", "10.1.2.3"],
        ["2", "far"],
    ]
    assert profiles.load(str(written(world)[-1])).target == SshTarget("gpu")


def test_a_host_that_this_computer_does_not_find_is_told(world: World, cloud: FaultyEmulator) -> None:
    with at_a_terminal([*WIZARD, "--kind", "ssh"], world.environ) as person:
        answer(person, "Host (a name", "gpu.invalid")
        assert "finds no host gpu.invalid" in answer(person, "Name of the profile", "")
        answer(person, "up now?", "n")
        assert person.waits() == 0


def test_a_profile_of_this_name_is_replaced_only_when_that_is_wanted(world: World, cloud: FaultyEmulator) -> None:
    assert world.run("profiles", "new", "here", "--kind", "local").code == 0
    with at_a_terminal([*WIZARD, "here"], world.environ) as person:
        answer(person, "Which machine?", "3")
        answer(person, "Put this one in its place? [y/N]", "")
        assert person.waits() == 2
    assert "There is a profile here already" in person.shown
    refused = world.run("profiles", "new", "here", "--host", "gpu", "--json")
    assert (refused.code, refused.error["code"]) == (2, "usage")
    assert "--force" in refused.error["hint"]
    assert profiles.load(str(written(world)[-1])).target == LocalTarget()
    assert world.run("profiles", "new", "here", "--host", "gpu", "--force").code == 0
    assert profiles.load(str(written(world)[-1])).target == SshTarget("gpu")


def test_flags_alone_make_a_profile_and_ask_nobody(world: World, cloud: FaultyEmulator) -> None:
    flags = ["--project", "vision-lab", "--instance", "train", "--user", "ada", "--on-down", "suspend", "--idle", "90m"]
    done = world.run("profiles", "new", *flags, "--json")
    assert done.code == 0, done.out
    path = Path(done.document["profile"]["path"])
    assert done.document["profile"]["name"] == "train"
    profile = profiles.load(str(path))
    assert (profile.ssh.user, profile.on_down.instance, profile.idle.after_s) == ("ada", "suspend", 5400.0)
    assert cloud.exchanges == []
    again = world.run("profiles", "new", "--instance", "train")
    assert (again.code, again.out) == (0, str(path.with_name("train-2.yaml")) + "\n")
    assert "remote-runtime up train-2" in again.err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "--instance, --host, or --kind local"),
        (["--kind", "gce"], "--instance, --host, or --kind local"),
        (["--host", "gpu", "--zone", "us-central1-a"], "gce, others for ssh"),
        (["--instance", "My VM"], "--instance: "),
        (["--kind", "local", "no/name"], "is not a name"),
    ],
    ids=" ".join,
)
def test_flags_that_are_not_enough_or_wrong_are_refused(
    world: World, cloud: FaultyEmulator, flags: list[str], told: str
) -> None:
    done = world.run("profiles", "new", *flags)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert written(world) == []


def test_a_name_that_another_file_would_hide_is_refused(world: World, cloud: FaultyEmulator) -> None:
    world.profile("work", "version: 1\ntarget: {kind: local}\n")
    done = world.run("profiles", "new", "work", "--host", "gpu", "--force", "--json")
    assert (done.code, done.error["code"]) == (2, "usage")
    assert "would hide the new one" in done.error["why"]
    assert written(world) == []
