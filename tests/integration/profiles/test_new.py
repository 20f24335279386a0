"""`profiles new`: with menus, with plain lines, with options alone, and what it writes."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_runtime import profiles
from remote_runtime.core.creation import BootDisk, CreateSettings, GpuRequest, ImageSource
from remote_runtime.core.profile import GceTarget, LocalTarget, SshTarget
from remote_runtime.demo.gcp_api.values import Vm
from tests.support.clients.terminal_user import Person, at_a_terminal
from tests.support.environment.world import COMMAND, World
from tests.support.faults.faulty_emulator import FaultyEmulator
from tests.support.price_rows import catalogue

TRAIN = Vm(
    "train", project="vision-lab", zone="europe-west4-a", status="RUNNING", labels={"team": "vision"},
    machine_type="g2-standard-24", accelerator="nvidia-l4",
)  # fmt: skip
WIZARD = [*COMMAND, "profiles", "new"]
DOWN, LEFT, BACKSPACE, ENTER = "\x1b[B", "\x1b[D", "\x7f", "\r"


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
            "TERM": "dumb",
        }
        yield emulator


def written(world: World) -> list[Path]:
    return sorted((world.home / "config").rglob("*.yaml"))


def answer(person: Person, question: str, text: str, *, enter: bool = True) -> str:
    seen = person.sees(question)
    person.types(text, enter=enter)
    return seen


def test_a_vm_is_chosen_from_what_the_cloud_lists(world: World, cloud: FaultyEmulator) -> None:
    with at_a_terminal(WIZARD, world.environ) as person:
        answer(person, "What do you want to connect to?", "")
        assert "vision-lab" in answer(person, "Google Cloud project (number or name)", "vision-lab")
        listed = answer(person, "VM (number or name)", "1")
        answer(person, "A running VM is billed. Stop it when you run `down`? [Y/n]", "")
        answer(person, "or never) [2h]", "2 weeks")
        assert "expected a duration such as" in answer(person, "or never) [2h]", "")
        answer(person, "[numpy pandas matplotlib]", "numpy -x")
        assert "expected a package as for pip" in answer(person, "[numpy pandas matplotlib]", "numpy torch==2.*")
        answer(person, "Name of the profile [train]", "")
        preview = answer(person, "profiles/train.yaml? [Y/n]", "")
        answer(person, "Run `remote-runtime up train` now? [Y/n]", "n")
        assert person.waits() == 0
    path = world.home / "config" / "profiles" / "train.yaml"
    assert "\n    after: 2h" in preview
    assert "# python:" not in preview
    assert person.shown.count("train.yaml") == 1

    rows = [line.split() for line in listed.splitlines()]
    assert ["1", "train", "RUNNING", "europe-west4-a", "g2-standard-24", "1", "nvidia-l4"] in rows
    assert any(row[:4] == ["2", "idle-box", "TERMINATED", "us-central1-a"] for row in rows)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    profile = profiles.load(str(path))
    assert profile.target == GceTarget("train", project="vision-lab", zone="europe-west4-a")
    assert (profile.on_down.instance, profile.idle.after_s) == ("stop", 7200.0)
    assert profile.jupyter.packages == ("numpy", "torch==2.*")
    assert path.read_text().startswith("# yaml-language-server: $schema=../schema.json\n")
    assert json.loads((path.parent / ".." / "schema.json").read_text()) == profiles.json_schema()
    assert "# g2-standard-24 with 1 nvidia-l4" in path.read_text()
    assert max(map(len, path.read_text().splitlines())) < 100
    assert str(path) in world.run("profiles", "show", "train").out


def test_a_long_list_is_narrowed_by_a_part_of_the_name(world: World, cloud: FaultyEmulator) -> None:
    with at_a_terminal([*WIZARD, "--project", "big-project"], world.environ) as person:
        first = answer(person, "VM (number or name)", "node-2")
        narrowed = answer(person, "VM (number or name)", "node-27")
        answer(person, "A running VM is billed", "")
        answer(person, "or never)", "")
        answer(person, "Packages", "none")
        answer(person, "Name of the profile [node-27]", "\x03")
        assert person.waits() == 130
    assert "10 more of 30" in first
    assert "node-19" not in narrowed
    assert "28  node-27" in narrowed
    assert re.search(r"\nCancelled: no profile was written", person.shown), "on a line of its own"
    assert written(world) == []


def test_ctrl_c_while_the_cloud_is_asked_leaves_nothing(world: World, cloud: FaultyEmulator) -> None:
    cloud.latency_s = 30.0
    with at_a_terminal([*WIZARD, "--project", "vision-lab"], world.environ) as person:
        person.sees("Listing VMs in vision-lab")
        person.types("\x03", enter=False)
        assert person.waits() == 130
    assert written(world) == []
    assert world.running() == []


def test_without_credentials_the_command_is_told_and_names_can_be_typed(world: World, cloud: FaultyEmulator) -> None:
    del world.environ["CLOUDSDK_AUTH_DISABLE_CREDENTIALS"]
    world.environ["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"] = str(world.home / "missing")
    with at_a_terminal([*WIZARD, "--kind", "gce"], world.environ) as person:
        told = answer(person, "Project ID", "Wrong Name")
        assert "Can't list projects: not signed in to Google Cloud." in told
        assert "gcloud auth application-default login" in told
        assert "6 to 30 lowercase letters" in answer(person, "Project ID", "my-project")
        answer(person, "Name of the VM", "my-vm")
        answer(person, "Zone (Enter: search all zones)", "us-central1")
        assert "got the region `us-central1`" in answer(person, "Zone (Enter", "")
        answer(person, "A running VM is billed", "")
        answer(person, "or never)", "")
        answer(person, "Packages", "none")
        answer(person, "Name of the profile [my-vm]", "work")
        answer(person, "Save as", "")
        answer(person, "up work` now?", "\x04")
        assert person.waits() == 0
    assert profiles.load(str(written(world)[-1])).target == GceTarget("my-vm", project="my-project")


def test_projects_that_may_not_be_listed_are_typed_and_their_instances_listed(
    world: World, cloud: FaultyEmulator
) -> None:
    cloud.forbidden_permissions.add("resourcemanager.projects.list")
    with at_a_terminal([*WIZARD, "--kind", "gce"], {**world.environ, "GOOGLE_CLOUD_PROJECT": "vision-lab"}) as person:
        told = answer(person, "Project ID [vision-lab]", "")
        assert "Can't list projects: " in told
        assert "idle-box" in answer(person, "VM (number or name)", "\x03")
        assert person.waits() == 130


def test_a_host_is_chosen_from_the_ssh_config(world: World, cloud: FaultyEmulator) -> None:
    folder = world.home / ".ssh"
    folder.mkdir(mode=0o700)
    (folder / "config").write_text("Host gpu box-*\n  HostName 10.1.2.3\nInclude more\nHost *\n  User me\n")
    (folder / "more").write_text("Host far\n")
    with at_a_terminal(WIZARD, world.environ) as person:
        answer(person, "What do you want to connect to?", "ssh")
        listed = answer(person, "Host (number or name)", "1")
        answer(person, "Packages", "none")
        answer(person, "Name of the profile [gpu]", "")
        assert "idle" not in answer(person, "Save as", ""), "proposed for VMs only"
        answer(person, "up gpu` now?", "n")
        assert person.waits() == 0
    assert [line.split() for line in listed.splitlines() if line[:1].isdecimal()] == [
        ["1", "gpu", "10.1.2.3"],
        ["2", "far"],
    ]
    assert profiles.load(str(written(world)[-1])).target == SshTarget("gpu")


def test_a_host_that_does_not_resolve_is_asked_for_again(world: World, cloud: FaultyEmulator) -> None:
    with at_a_terminal([*WIZARD, "--kind", "ssh"], world.environ) as person:
        answer(person, "Host (HOST or USER@HOST)", "gpu.invalid")
        assert "Can't resolve gpu.invalid." in answer(person, "USER@HOST) [gpu.invalid]", "me@127.0.0.1")
        answer(person, "Packages", "")
        answer(person, "Name of the profile [127.0.0.1]", "box")
        answer(person, "Save as", "n")
        assert person.waits() == 130
    assert "Cancelled: no profile was written" in person.shown
    assert written(world) == []


def test_menus_are_moved_in_with_arrows_and_filtered_by_typing(world: World, cloud: FaultyEmulator) -> None:
    environ = {**world.environ, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
    with at_a_terminal([*WIZARD, "--kind", "gce"], environ, columns=100) as person:
        assert "big-project" in answer(person, "Another one …", DOWN + ENTER, enter=False)
        listed = answer(person, "Another one …", ENTER, enter=False)
        assert re.search(r"VM +STATUS +ZONE +MACHINE TYPE +GPU", listed)
        assert re.search(r"» train +RUNNING +europe-west4-a +g2-standard-24 +1 nvidia-l4", listed)
        answer(person, "A running VM is billed", "n", enter=False)
        answer(person, "or never):", "x" + ENTER, enter=False)
        person.sees("expected a duration")
        answer(person, "or never): 2hx", BACKSPACE + LEFT + "4" + ENTER, enter=False)  # of the proposed 2h
        answer(person, "Packages", "\x15" + ENTER, enter=False)
        answer(person, "Name of the profile", ENTER, enter=False)
        answer(person, "Save as", ENTER, enter=False)
        answer(person, "up train` now?", "n", enter=False)
        assert person.waits() == 0
    profile = profiles.load(str(written(world)[-1]))
    assert profile.target == GceTarget("train", project="vision-lab", zone="europe-west4-a")
    assert (profile.on_down.instance, profile.idle.after_s, profile.jupyter.packages) == ("keep", 86400.0, ())

    with at_a_terminal([*WIZARD, "--project", "big-project"], environ) as person:
        person.sees("type to filter")
        person.sees("node-05")
        person.types("node-27" + ENTER, enter=False)
        person.sees("VM node-27")
        answer(person, "A running VM is billed", "\x03", enter=False)
        assert person.waits() == 130
    assert "Cancelled: no profile was written" in person.shown
    assert len(written(world)) == 1


def test_a_profile_of_this_name_is_replaced_only_when_that_is_wanted(world: World, cloud: FaultyEmulator) -> None:
    assert world.run("profiles", "new", "here", "--kind", "local").code == 0
    with at_a_terminal([*WIZARD, "here"], world.environ) as person:
        answer(person, "What do you want to connect to?", "4")
        answer(person, "Packages", "")
        answer(person, "Profile here already exists. Replace it? [y/N]", "")
        assert person.waits() == 2
    assert "error[usage]: Profile here already exists" in person.shown
    refused = world.run("profiles", "new", "here", "--host", "gpu", "--json")
    assert (refused.code, refused.error["code"]) == (2, "usage")
    assert "--force" in refused.error["hint"]
    assert profiles.load(str(written(world)[-1])).target == LocalTarget()
    assert world.run("profiles", "new", "here", "--host", "gpu", "--force").code == 0
    assert profiles.load(str(written(world)[-1])).target == SshTarget("gpu")


def test_flags_alone_make_a_profile_and_ask_nobody(world: World, cloud: FaultyEmulator) -> None:
    flags = [
        "--project",
        "vision-lab",
        "--instance",
        "train",
        "--user",
        "ada",
        "--on-down",
        "suspend",
        "--idle",
        "90m",
        "--packages",
        "numpy pandas",
    ]
    done = world.run("profiles", "new", *flags, "--json")
    assert done.code == 0, done.out
    path = Path(done.document["profile"]["path"])
    assert done.document["profile"]["name"] == "train"
    profile = profiles.load(str(path))
    assert (profile.ssh.user, profile.on_down.instance, profile.idle.after_s) == ("ada", "suspend", 5400.0)
    assert profile.jupyter.packages == ("numpy", "pandas")
    assert cloud.exchanges == []
    again = world.run("profiles", "new", "--instance", "train")
    assert (again.code, again.out) == (0, str(path.with_name("train-2.yaml")) + "\n")
    assert "remote-runtime up train-2" in again.err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "Not a terminal: pass --instance, --host or --kind local"),
        (["--kind", "gce"], "pass --instance, --host or --kind local"),
        (["--host", "gpu", "--zone", "us-central1-a"], "gce, others of kind ssh"),
        (["--instance", "My VM"], "--instance: "),
        (["--kind", "local", "no/name"], "Invalid profile name"),
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
    assert "takes precedence" in done.error["why"]
    assert written(world) == []


@pytest.fixture
def priced(cloud: FaultyEmulator, world: World) -> FaultyEmulator:
    cloud.cloud.skus = catalogue()
    world.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING"] = cloud.os_login_endpoint
    return cloud


def test_a_new_vm_is_chosen_by_gpu_region_and_price(world: World, priced: FaultyEmulator) -> None:
    with at_a_terminal(WIZARD, world.environ) as person:
        kinds = answer(person, "What do you want to connect to?", "new-vm")
        assert "A new Compute Engine VM, which `up` creates" in kinds
        answer(person, "Google Cloud project (number or name)", "vision-lab")
        gpus = answer(person, "GPU (number or name)", "nvidia-l4")
        regions = answer(person, "Region (number or name) [us-central1]", "europe-west4")
        types = answer(person, "Machine type (number or name)", "g2-standard-8")
        assert "Spot VM for $0.39/h?" in answer(person, "[y/N]", "y")
        answer(person, "Size of the boot disk [100GB]", "20")
        answer(person, "Size of the boot disk [100GB]", "200GB")
        answer(person, "Name of the new VM [colab-l4]", "my-l4")
        answer(person, "A running VM is billed", "")
        answer(person, "or never)", "")
        answer(person, "Packages", "none")
        answer(person, "Name of the profile [my-l4]", "")
        answer(person, "Save as", "")
        answer(person, "up my-l4` now?", "n")
        assert person.waits() == 0
    rows = [line.split() for line in gpus.splitlines()]
    assert ["2", "nvidia-l4", "24", "GB", "$0.86/h"] in rows
    assert ["1", "europe-west4", "$0.94/h"] in [line.split() for line in regions.splitlines()]
    assert ["1", "g2-standard-8", "1", "8", "32", "GB", "$0.94", "$0.39", "a,", "b"] in [
        line.split() for line in types.splitlines()
    ]
    path = written(world)[-1]
    target = profiles.load(str(path)).target
    image = ImageSource("pytorch-2-9-cu129-ubuntu-2404-nvidia-580", project="deeplearning-platform-release")
    create = CreateSettings("g2-standard-8", image, None, BootDisk(200), "spot")
    assert target == GceTarget("my-l4", project="vision-lab", regions=("europe-west4",), create=create)
    assert "# 8 CPUs, 32 GB, 1 nvidia-l4, $0.39/h without disk" in path.read_text()
    assert max(map(len, path.read_text().splitlines())) < 110


def test_without_a_gpu_or_a_list_a_new_vm_is_described_too(world: World, priced: FaultyEmulator) -> None:
    with at_a_terminal([*WIZARD, "--kind", "new-vm", "--project", "vision-lab"], world.environ) as person:
        answer(person, "GPU (number or name)", "none")
        answer(person, "Region (number or name)", "us-central1")
        assert "e2-standard-4" in answer(person, "Machine type (number or name)", "1")
        answer(person, "Size of the boot disk", "")
        answer(person, "Name of the new VM [colab-e2]", "\x03")
        assert person.waits() == 130
    priced.forbidden_permissions.add("compute.machineTypes.list")
    with at_a_terminal([*WIZARD, "--kind", "new-vm", "--project", "vision-lab"], world.environ) as person:
        told = answer(person, "Machine type (https", "n1-standard-8")
        assert "compute.machineTypes.list" in told
        answer(person, "Region [us-central1]", "us-central1-a")
        assert "expected a region" in answer(person, "Region [us-central1]", "\x03")
        assert person.waits() == 130


def test_the_options_alone_describe_a_new_vm(world: World, cloud: FaultyEmulator) -> None:
    new = ("profiles", "new", "--json", "--no-up")
    made = world.run(
        *new, "t4", "--instance", "my-t4", "--machine-type", "n1-standard-8", "--zone", "us-central1-a",
        "--gpu", "nvidia-tesla-t4:2", "--provisioning", "flex-start", "--disk-size", "50GB", "--on-down", "delete",
    )  # fmt: skip
    assert made.code == 0, made.err
    profile = profiles.load(made.document["profile"]["path"])
    assert isinstance(profile.target, GceTarget)
    create = profile.target.create
    assert create is not None
    assert (create.gpu, create.boot_disk.size_gb) == (GpuRequest("nvidia-tesla-t4", 2), 50)
    assert (create.provisioning, create.max_run_s) == ("flex-start", 43200.0)
    assert (profile.target.zone, profile.on_down.instance) == ("us-central1-a", "delete")

    plain = world.run(*new, "--instance", "box", "--machine-type", "e2-standard-4", "--region", "us-east1")
    target = profiles.load(plain.document["profile"]["path"]).target
    assert isinstance(target, GceTarget)
    assert target.create is not None
    assert target.create.image == ImageSource("ubuntu-2404-lts-amd64", project="ubuntu-os-cloud")
    missing = world.run(*new, "--machine-type", "g2-standard-8").error
    assert missing["what"] == "A new VM requires --instance, --machine-type and --region or --zone"
    for options, word in (
        (("--gpu", "nvidia-l4:0"), "TYPE:COUNT"), (("--disk-size", "9"), "--disk-size: expected a size"),
        (("--host", "box"), "others of kind"),
    ):  # fmt: skip
        wrong = world.run(*new, "--instance", "x", "--machine-type", "g2-standard-8", "--region", "us-east1", *options)
        assert word in wrong.error["what"]
