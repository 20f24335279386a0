"""`target.create`: what is refused, what is read, and the idle rule of a VM that `up` creates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from remote_runtime import profiles
from remote_runtime.core.creation import BootDisk, CreateSettings, GpuRequest, ImageSource
from remote_runtime.core.errors import UsageError
from remote_runtime.core.profile import DemoTarget, GceTarget, Profile

CREATE = {"machine_type": "g2-standard-8", "image": {"family": "common-cu129"}}
PLACE = {"kind": "gce", "instance": "my-l4", "zone": "us-central1-a"}


def load(tmp_path: Path, target: Mapping[str, object], **sections: object) -> Profile:
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "target": dict(target), **sections}))
    return profiles.load(str(path), environ={})


def test_all_of_create_is_read(tmp_path: Path) -> None:
    target = load(
        tmp_path,
        {
            "kind": "gce", "instance": "my-l4", "region": ["us-central1", "europe-west4"],
            "create": {
                "machine_type": "n1-standard-8", "gpu": {"type": "nvidia-tesla-t4", "count": 2},
                "image": {"name": "my-image", "project": "images-1"}, "boot_disk": {"size": "1TB", "type": "pd-ssd"},
                "provisioning": "flex-start", "wait": "2h", "max_run": "7d", "external_address": True,
                "network": "net", "subnet": "projects/p/regions/us-central1/subnetworks/s",
                "service_account": "me@p.iam.gserviceaccount.com", "scopes": ["cloud-platform"],
                "labels": {"team": "vision"}, "tags": ["ssh"], "metadata": {"install-nvidia-driver": "True"},
                "keep_on_failure": True,
            },
        },
    ).target  # fmt: skip
    assert isinstance(target, GceTarget)
    assert target.regions == ("us-central1", "europe-west4")
    assert target.create == CreateSettings(
        "n1-standard-8", ImageSource(None, "my-image", "images-1"), GpuRequest("nvidia-tesla-t4", 2),
        BootDisk(1024, "pd-ssd"), "flex-start", 7200.0, 604800.0, True, "net",
        "projects/p/regions/us-central1/subnetworks/s", "me@p.iam.gserviceaccount.com", ("cloud-platform",),
        {"team": "vision"}, ("ssh",), {"install-nvidia-driver": "True"}, True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("target", "sections", "words"),
    [
        ({"zone": "us-central1-a", "zones": ["us-central1-b"]}, {}, "expected one of `zone`, `zones` and `region`"),
        ({"zones": ["us-central1-b"], "region": "us-central1"}, {}, "expected one of `zone`, `zones` and `region`"),
        ({"zones": ["us-central1-b", "us-central1-b"]}, {}, "got one twice"),
        ({"region": "us-central1-a"}, {}, "expected a region such as `us-central1`, got the zone"),
        ({"create": CREATE, "zone": None}, {}, "requires `zone`, `zones` or `region`"),
        ({"create": CREATE, "instance": None, "labels": {"a": "b"}}, {}, "requires `instance`"),
        ({"create": {"machine_type": "g2-standard-8"}}, {}, "create.image: required key is missing"),
        ({"create": CREATE | {"image": {"family": "a", "name": "b"}}}, {}, "either `family` or `name`"),
        ({"create": CREATE | {"provisioning": "flex-start"}}, {}, "requires `max_run`"),
        ({"create": CREATE | {"provisioning": "flex-start", "max_run": "5m"}}, {}, "expected a duration from `10m`"),
        ({"create": CREATE | {"provisioning": "flex-start", "max_run": "8d"}}, {}, "to `7d`"),
        ({"create": CREATE | {"wait": "1m"}}, {}, "expected a duration from `90s` to `2h`, got `1m`"),
        ({"create": CREATE | {"wait": "3h"}}, {}, "expected a duration from `90s` to `2h`, got `3h`"),
        ({"create": CREATE | {"boot_disk": {"size": "9GB"}}}, {}, "expected a size such as `100GB`"),
        ({"create": CREATE | {"gpu": {"type": "nvidia-l4", "count": 0}}}, {}, "expected a number from 1 to 16"),
        ({"create": CREATE | {"labels": {"remote-runtime-created-by": "x"}}}, {}, "is set by remote-runtime"),
        ({"create": CREATE | {"metadata": {"enable-guest-attributes": "FALSE"}}}, {}, "is set by remote-runtime"),
        ({"create": CREATE | {"scopes": ["cloud-platform"]}}, {}, "has no effect without `service_account`"),
        ({}, {"on_down": {"instance": "delete"}}, "requires `target.create`"),
        ({"create": CREATE}, {"jupyter": {"attach": {"port": 8888}}}, "requires `create.max_run`"),
    ],
)  # fmt: skip
def test_what_cannot_be_created_is_refused(
    tmp_path: Path, target: dict[str, object], sections: dict[str, object], words: str
) -> None:
    wanted = {key: value for key, value in {**PLACE, **target}.items() if value is not None}
    if {"zones", "region"} & set(target) and "zone" not in target:
        del wanted["zone"]
    with pytest.raises(UsageError) as caught:
        load(tmp_path, wanted, **sections)
    assert caught.value.code == "profile-invalid"
    assert words in caught.value.why


@pytest.mark.parametrize(
    ("create", "idle", "after_s"),
    [
        ({}, None, 7200.0), ({}, {"do": "suspend-instance"}, 7200.0), ({}, {"after": "never"}, None),
        ({}, {"after": "1h"}, 3600.0), ({"max_run": "12h"}, None, None),
    ],
)  # fmt: skip
def test_a_created_vm_stops_when_idle_unless_the_profile_says_otherwise(
    tmp_path: Path, create: dict[str, object], idle: dict[str, object] | None, after_s: float | None
) -> None:
    sections = {} if idle is None else {"idle": idle}
    profile = load(tmp_path, {**PLACE, "create": CREATE | create}, **sections)
    assert profile.idle.after_s == after_s
    assert profile.idle.do == (idle or {}).get("do", "stop-instance")
    assert load(tmp_path, PLACE).idle.after_s is None
    again = profiles.parse_profile("p", str(profile.path), profiles.to_yaml(profile))
    assert again == profile


def test_the_demo_takes_zones_and_create_together(tmp_path: Path) -> None:
    target = load(tmp_path, {"kind": "demo", "zones": ["us-central1-a"], "create": CREATE}).target
    assert isinstance(target, DemoTarget)
    assert target.create is not None
    assert target.create.machine_type == "g2-standard-8"
    for half in ({"zones": ["us-central1-a"]}, {"create": CREATE}):
        with pytest.raises(UsageError, match="problem"):
            load(tmp_path, {"kind": "demo", **half})
