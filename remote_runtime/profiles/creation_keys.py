"""The keys of ``target.create``, and the rules for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..core import creation
from ..core.creation import CREATED_BY_LABEL, IDLE_DEFAULT_S
from ..core.profile import GceTarget, Profile
from .field_types import (
    IMAGE_NAME,
    LABEL_KEY,
    LABEL_VALUE,
    MACHINE_TYPE,
    METADATA_KEY,
    NETWORK,
    PROJECT,
    SCOPE,
    SERVICE_ACCOUNT,
    TAG,
    TYPE_NAME,
)
from .jupyter_rules import is_secret_env_name
from .sections import Key, ListOf, MappingOf, Section
from .value_types import Boolean, Duration, OneOf, Size, Text, WholeNumber, require_mapping
from .yaml_nodes import is_null, key_value_nodes

if TYPE_CHECKING:
    from yaml.nodes import Node

RuleProblems = Iterator[tuple[str, str]]

# https://cloud.google.com/compute/docs/instances/limit-vm-runtime and
# https://cloud.google.com/compute/docs/instances/about-flex-start-vms; the discovery document bounds Duration alone.
MIN_RUN_S, MAX_RUN_S = 30, 120 * 86400
FLEX_START_MIN_RUN_S, FLEX_START_MAX_RUN_S = 600, 7 * 86400
MIN_WAIT_S, MAX_WAIT_S = 90, 7200


def _check_image(values: Mapping[str, Any], keys: frozenset[str]) -> RuleProblems:
    if "family" in keys and "name" in keys:
        yield "name", "expected either `family` or `name`, got both"
    if not {"family", "name"} & keys:
        yield "family", "required key is missing; set `family` or `name`"


def _check_creation(values: Mapping[str, Any], keys: frozenset[str]) -> RuleProblems:
    is_flex_start, max_run_s = values.get("provisioning") == "flex-start", values.get("max_run_s")
    if is_flex_start and "max_run" not in keys:
        yield "max_run", "required key is missing: `provisioning: flex-start` requires `max_run`"
    if is_flex_start and max_run_s and not FLEX_START_MIN_RUN_S <= max_run_s <= FLEX_START_MAX_RUN_S:
        got = Duration().to_yaml(max_run_s)
        yield "max_run", f"expected a duration from `10m` to `7d` with `provisioning: flex-start`, got `{got}`"
    if values.get("scopes") and "service_account" not in keys:
        yield "scopes", "has no effect without `service_account`"
    if CREATED_BY_LABEL in values.get("labels", ()):
        yield "labels", f"`{CREATED_BY_LABEL}` is set by remote-runtime"
    if "enable-guest-attributes" in values.get("metadata", ()):
        yield "metadata", "`enable-guest-attributes` is set by remote-runtime: it verifies the host key"


IMAGE = Section(
    creation.ImageSource,
    (
        Key("family", IMAGE_NAME, "The image family, whose newest image is used. Set this or name."),
        Key("name", IMAGE_NAME, "The image's name."),
        Key("project", PROJECT, "The image's project. Default: the VM's."),
    ),
    "The image of the boot disk.",
    (_check_image,),
)
GPU = Section(
    creation.GpuRequest,
    (
        Key("type", TYPE_NAME, "The GPU's type, such as nvidia-tesla-t4.", required=True),
        Key("count", WholeNumber(1, 16), "How many."),
    ),
    "GPUs to attach to machine types that have none of their own.",
)
BOOT_DISK = Section(
    creation.BootDisk,
    (
        Key("size", Size(10, 65536), "Its size, such as 100GB. Default: the image's.", "size_gb"),
        Key("type", TYPE_NAME, "The disk's type, such as pd-balanced or pd-ssd."),
    ),
    "The boot disk.",
)
CREATE = Section(
    creation.CreateSettings,
    (
        Key("machine_type", MACHINE_TYPE, "The machine type, such as g2-standard-8.", required=True),
        Key("image", IMAGE, "The image: {family: …, project: …}, or {name: …}.", required=True),
        Key("gpu", GPU, "GPUs for a machine type without its own: {type: …, count: 1}."),
        Key("boot_disk", BOOT_DISK, "The boot disk: {size: 100GB, type: pd-balanced}."),
        Key(
            "provisioning",
            OneOf(("standard", "spot", "flex-start")),
            "Standard, Spot, or Flex-start, which waits for capacity.",
        ),
        Key("wait", Duration(MIN_WAIT_S, MAX_WAIT_S), "How long Flex-start waits. Default: 30m.", "wait_s"),
        Key("max_run", Duration(MIN_RUN_S, MAX_RUN_S), "When Compute Engine stops the VM in any case.", "max_run_s"),
        Key("external_address", Boolean(), "Give the VM an external address. Without one, use IAP."),
        Key("network", NETWORK, "The network. Default: the project's default network."),
        Key("subnet", NETWORK, "The subnet. Default: the network's subnet of the region."),
        Key("service_account", SERVICE_ACCOUNT, "A service account's address, or default. Default: none."),
        Key("scopes", ListOf(SCOPE), "Its scopes. Default: cloud-platform."),
        Key("labels", MappingOf(LABEL_KEY, LABEL_VALUE, max_items=60), "More labels of the VM and its disk."),
        Key("tags", ListOf(TAG, max_items=64), "Network tags."),
        Key("metadata", MappingOf(METADATA_KEY, Text(max_chars=262144), is_secret_env_name), "Metadata of the VM."),
        Key("keep_on_failure", Boolean(), "Keep the VM if `up` fails."),
    ),
    "Creates the VM if it does not exist. Without this key nothing is created.",
    (_check_creation,),
)  # fmt: skip


def with_idle_default(node: Node, profile: Profile) -> Profile:
    """``profile``, whose VM stops when idle if `up` creates it and the file limits its life in no other way. ``node``:
    the file's."""
    target = profile.target
    is_limited = not isinstance(target, GceTarget) or target.create is None or target.create.max_run_s is not None
    if is_limited or _is_given(node, "idle", "after"):
        return profile
    return replace(profile, idle=replace(profile.idle, after_s=IDLE_DEFAULT_S))


def _is_given(node: Node, section: str, key: str) -> bool:
    nodes, _ = key_value_nodes(require_mapping(node, ""), "")
    if section not in nodes or is_null(nodes[section][1]):
        return False
    keys, _ = key_value_nodes(require_mapping(nodes[section][1], section), section)
    return key in keys and not is_null(keys[key][1])
