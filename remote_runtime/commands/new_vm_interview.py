"""The interview of `profiles new` for a VM that does not exist yet: GPU, region, machine type, each with its price."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .. import compute
from ..core.machine_offers import MachineOffer
from ..core.price import money
from .interview import Prompts, choose_project, look_up, validator
from .new_profile import DEFAULT_DISK_SIZE, ProfileOptions

NO_GPU = "none"
CURRENCY = "USD"
DEFAULT_MACHINE_TYPE, DEFAULT_REGION = "g2-standard-8", "us-central1"
# In GB, of one GPU: https://cloud.google.com/compute/docs/gpus
GPU_MEMORY_GB = {
    "nvidia-tesla-t4": 16, "nvidia-tesla-p4": 8, "nvidia-tesla-p100": 16, "nvidia-tesla-v100": 16, "nvidia-l4": 24,
    "nvidia-tesla-a100": 40, "nvidia-a100-80gb": 80, "nvidia-h100-80gb": 80, "nvidia-h100-mega-80gb": 80,
    "nvidia-h200-141gb": 141, "nvidia-b200": 180, "nvidia-rtx-pro-6000": 96,
}  # fmt: skip


def choose_new_vm(options: ProfileOptions, prompts: Prompts, environ: Mapping[str, str]) -> tuple[ProfileOptions, str]:
    """The options with project, region, machine type and name, and a description of the machine. Raises ``EOFError``,
    ``KeyboardInterrupt``."""
    signed_in = True
    if options.project is None:
        options, signed_in = choose_project(options, prompts, environ)
    offers = _offers(options, None, prompts, environ) if signed_in and options.machine_type is None else []
    description, gpu_type = "", (options.gpu or "").partition(":")[0]
    if offers:
        offer = _choose_offer(_with_gpu(offers, options, prompts, environ), options, prompts)
        gpu = f"{offer.gpu}:{offer.gpu_count}" if offer.is_attached else None
        region = options.region if options.zone else offer.region
        options = replace(options, machine_type=offer.machine_type, gpu=gpu, region=region)
        options = _choose_provisioning(options, offer, prompts)
        description, gpu_type = _describe(offer, options), offer.gpu
    if options.machine_type is None:
        question = "Machine type (https://cloud.google.com/compute/docs/gpus)"
        kind = prompts.prompt(question, default=DEFAULT_MACHINE_TYPE, validate=validator("machine_type"))
        options = replace(options, machine_type=kind)
    if options.region is None and options.zone is None:
        region = prompts.prompt("Region", default=DEFAULT_REGION, validate=validator("region"))
        options = replace(options, region=region)
    if options.disk_size is None:
        size = prompts.prompt("Size of the boot disk", default=DEFAULT_DISK_SIZE, validate=validator("disk_size"))
        options = replace(options, disk_size=size)
    if options.instance is None:
        name = prompts.prompt(
            "Name of the new VM", default=_proposed_name(gpu_type, options), validate=validator("instance")
        )
        options = replace(options, instance=name)
    return options, description


def _offers(
    options: ProfileOptions, gpu: str | None, prompts: Prompts, environ: Mapping[str, str]
) -> list[MachineOffer]:
    regions = [options.region] if options.region else []
    call = functools.partial(compute.list_machine_types, options.project, gpu, regions, environ=environ)
    found = look_up("Listing machine types and prices", prompts, call)
    if found is None:
        return []
    for note in found.notes:
        prompts.note(note)
    return [each for each in found.offers if options.zone is None or options.zone in each.zones]


def _with_gpu(
    offers: Sequence[MachineOffer], options: ProfileOptions, prompts: Prompts, environ: Mapping[str, str]
) -> list[MachineOffer]:
    """Those with the GPU that the user chooses, or without one."""
    gpus = sorted({each.gpu for each in offers}, key=lambda gpu: (GPU_MEMORY_GB.get(gpu, 0), gpu))
    rows = [(gpu, f"{GPU_MEMORY_GB[gpu]} GB" if gpu in GPU_MEMORY_GB else "", _from(offers, gpu)) for gpu in gpus]
    wanted = (options.gpu or "").partition(":")[0]
    if wanted not in gpus:
        rows.append((NO_GPU, "", ""))
        wanted = prompts.choose("GPU", ("GPU", "GPU MEMORY", "FROM"), rows, validate=None)[0]
    return (
        [each for each in offers if each.gpu == wanted]
        if wanted != NO_GPU
        else _offers(options, NO_GPU, prompts, environ)
    )


def _from(offers: Sequence[MachineOffer], gpu: str, region: str = "") -> str:
    """The lowest price of an hour."""
    prices = [each.price for each in offers if each.gpu == gpu and region in ("", each.region) and each.price]
    return f"{money(min(prices), CURRENCY)}/h" if prices else ""


def _choose_offer(offers: Sequence[MachineOffer], options: ProfileOptions, prompts: Prompts) -> MachineOffer:
    regions = sorted({each.region for each in offers})
    region = regions[0]
    if len(regions) > 1:
        rows = [(name, _from(offers, offers[0].gpu, name)) for name in regions]
        default = DEFAULT_REGION if DEFAULT_REGION in regions else ""
        region = prompts.choose("Region", ("REGION", "FROM"), rows, default=default, validate=None)[0]
    there = [each for each in offers if each.region == region]
    head = ("MACHINE TYPE", "GPUS", "CPUS", "MEMORY", "PER HOUR", "SPOT", "ZONES")
    listed = [_row(each) for each in there]
    chosen = prompts.choose("Machine type", head, listed, validate=None)
    return there[listed.index(tuple(chosen))]


def _row(offer: MachineOffer) -> tuple[str, ...]:
    price, spot = (money(amount, CURRENCY) if amount else "" for amount in (offer.price, offer.spot_price))
    zones = ", ".join(zone.removeprefix(f"{offer.region}-") for zone in offer.zones)
    gpus, memory = str(offer.gpu_count or ""), f"{offer.memory_gb:g} GB"
    return offer.machine_type, gpus, str(offer.cpus), memory, price, spot, zones


def _choose_provisioning(options: ProfileOptions, offer: MachineOffer, prompts: Prompts) -> ProfileOptions:
    if options.provisioning is not None or not offer.spot_price:
        return options
    price = f"{money(offer.spot_price, CURRENCY)}/h"
    question = f"A Spot VM for {price}? Compute Engine can stop it at any time"
    return replace(options, provisioning="spot" if prompts.confirm(question, default=False) else "standard")


def _describe(offer: MachineOffer, options: ProfileOptions) -> str:
    gpus = f"{offer.gpu_count} {offer.gpu}" if offer.gpu else ""
    amount = {"standard": offer.price, "spot": offer.spot_price}.get(options.provisioning or "standard")
    price = f"{money(amount, CURRENCY)}/h without disk" if amount else ""
    return ", ".join(filter(None, (f"{offer.cpus} CPUs", f"{offer.memory_gb:g} GB", gpus, price)))


def _proposed_name(gpu_type: str, options: ProfileOptions) -> str:
    """After the GPU, else the machine series."""
    gpu = gpu_type.removeprefix("nvidia-").removeprefix("tesla-")
    return f"colab-{gpu or (options.machine_type or '').partition('-')[0]}"
