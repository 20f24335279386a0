"""New profiles as text: what YAML reads back is what was chosen."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from remote_runtime import profiles, ssh
from remote_runtime.core.creation import BootDisk, CreateSettings, GpuRequest, ImageSource
from remote_runtime.core.profile import GceTarget, LocalTarget, SshTarget
from remote_runtime.profiles import ProfileTemplate

CREATE = CreateSettings("g2-standard-8", ImageSource("debian-12", project="debian-cloud"), None, BootDisk(100))
T4 = replace(
    CREATE, machine_type="n1-standard-8", gpu=GpuRequest("nvidia-tesla-t4", 2), provisioning="flex-start",
    max_run_s=43200.0,
)  # fmt: skip

DRAFTS = [
    ProfileTemplate(
        "vm", GceTarget("my-vm", project="my-project", zone="us-central1-a"), "me", "stop", "2h", "g2 with 1 nvidia-l4"
    ),
    ProfileTemplate("vm", GceTarget("my-vm")),
    *(
        ProfileTemplate(
            "vm",
            GceTarget("v" * length, project="p" * 30, zone="northamerica-northeast1-a"),
            "me" * 16,
            description="g2",
        )
        for length in (*range(26, 31), 63)
    ),
    ProfileTemplate("host", SshTarget("gpu." * 12 + "example"), description="there"),
    *(
        ProfileTemplate("host", SshTarget(host))
        for host in ("gpu", "on", "10.0.0.1", "1e3", "fe80::1%eth0", "null", "0x10")
    ),
    ProfileTemplate("host", SshTarget("gpu"), "123"),
    ProfileTemplate("here", LocalTarget()),
    ProfileTemplate(
        "new",
        GceTarget("colab-l4", project="my-project", regions=("us-central1",), create=CREATE),
        on_down="delete",
        description="8 CPUs, 32 GB, 1 nvidia-l4",
    ),
    ProfileTemplate("new", GceTarget("v" * 63, zone="us-central1-a", create=T4), idle="2h"),
]


@pytest.mark.parametrize("draft", DRAFTS, ids=lambda draft: f"{draft.name} {getattr(draft.target, 'host', '')}")
def test_a_draft_is_read_back_as_it_was_meant_with_and_without_its_comments(draft: ProfileTemplate) -> None:
    profile = profiles.parse_profile(draft.name, "x.yaml", draft.text())
    assert profile.target == draft.target
    assert (profile.ssh.user or "", profile.on_down.instance) == (draft.user, draft.on_down)
    is_limited = draft.idle or getattr(draft.target, "create", None)  # what `up` creates stops when idle
    assert profile.idle.after_s == (7200.0 if is_limited else None)
    opened = re.sub("(?m)^( *)# (?=( {2})?[a-z_]+:)", r"\1", draft.text())
    assert profiles.parse_profile(draft.name, "x.yaml", opened).jupyter.python == "/opt/conda/bin/python", opened


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("instance", "My VM"),
        ("project", "12"),
        ("zone", "us-central1"),
        ("host", "me@box"),
        ("user", "a\nb"),
        ("idle", "soon"),
    ],
)
def test_what_a_key_does_not_take_is_told_before_it_is_written(key: str, text: str) -> None:
    assert profiles.value_error(key, text).startswith("expected ")
    assert profiles.value_error("host", "gpu-box") == ""


def test_the_hosts_of_an_ssh_config_are_found_through_its_includes(tmp_path: Path) -> None:
    folder = tmp_path / ".ssh"
    (folder / "d").mkdir(parents=True)
    (folder / "config").write_text(
        'Include d/*.conf\nHost=one "two"\n  hostname 10.0.0.1\nHost !three four*\n HostName x\nHost one\n HostName y\n'
        "Match all\n  HostName z\nHost 'broken\nInclude ~/.ssh/config\n"
    )
    (folder / "d" / "a.conf").write_text("Host first\nInclude ~/.ssh/remote-runtime/config\n")
    (folder / "remote-runtime").mkdir()
    (folder / "remote-runtime" / "config").write_text("Host rr-profile\n")
    assert ssh.host_aliases({"HOME": str(tmp_path)}) == {"first": "", "one": "10.0.0.1", "two": "10.0.0.1"}
    assert ssh.host_aliases({"HOME": str(tmp_path / "none")}) == {}


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example"])
def test_a_name_that_no_host_can_have_is_not_known(host: str) -> None:
    assert not ssh.is_resolvable(host)
