"""Lists the machine types with GPUs, by region."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...core.callbacks import Progress
from ...core.creation import region_of
from ...core.deadline import Deadline
from ...core.errors import DeadlinePassed, RemoteRuntimeError
from ...core.machine_offers import MachineOffer, MachineOffers
from ..client import gcloud_config
from ..client.rest import Json, RestApi, compute_path, open_rest
from ..instances.convert import COMPLETE_WARNINGS, last_segment
from ..prices.fetch import current_prices
from ..prices.hourly import MachineShape, hourly_price
from ..prices.price_list import PriceList
from ..prices.shapes import dicts, machine_shape
from .advice import MAX_OFFERS, with_obtainability

PRICES_TIMEOUT_S = 60.0
# Series with GPUs of their own begin with these letters and a number (https://cloud.google.com/compute/docs/gpus).
# Others are attached to N1, of which these are the sizes that every such GPU allows, by the number of GPUs.
N1_SIZES = {1: ("n1-standard-4", "n1-standard-8"), 2: ("n1-standard-16",), 4: ("n1-standard-32",)}
NAMES = "(a|g)[0-9]+[a-z]*-.*|" + "|".join(name for names in N1_SIZES.values() for name in names)
NO_GPU = "none"
PLAIN_NAMES = "(e2|n2)-standard-(4|8|16)|e2-highmem-(4|8)"  # those of hundreds that NO_GPU lists
ATTACHABLE = ("nvidia-tesla-t4", "nvidia-tesla-p4", "nvidia-tesla-v100", "nvidia-tesla-p100")
FIELDS = "name,guestCpus,memoryMb,isSharedCpu,accelerators,bundledLocalSsds,deprecated"
OLD = ("DEPRECATED", "OBSOLETE", "DELETED")

Found = dict[tuple[str, str, str, int], tuple[MachineShape, list[str]]]


def list_machine_types(
    project: str | None,
    gpu: str | None,
    regions: Sequence[str],
    *,
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
) -> MachineOffers:
    """One offer for each machine type and region, the cheapest of a GPU first. ``gpu``: a type such as ``nvidia-l4``,
    its end (``l4``), or ``none`` for some machine types without; None for all GPUs. ``regions``: all if there are none.
    Prices are without disks.

    Raises ``CloudError``. Without prices, or advice on capacity, ``notes`` has the reason.
    """
    rest = open_rest(environ, gcloud_config.COMPUTE, deadline)
    name = gcloud_config.project(project, environ, rest.identity.project).value
    progress(f"Listing machine types with GPUs in project {name}")
    notes: list[str] = []
    found = _shapes(rest, name, regions, notes, with_gpus=gpu != NO_GPU)
    types = sorted({shape.gpu for shape, _ in found.values()})
    wanted = [each for each in types if gpu in (None, NO_GPU) or str(gpu).lower() in (each, *_ends(each))]
    prices = _prices(environ, progress, deadline, notes) if wanted else None
    offers = sorted(
        (_offer(shape, zones, prices) for shape, zones in found.values() if shape.gpu in wanted), key=_order
    )
    if 0 < len(offers) <= MAX_OFFERS:
        progress("Reading the capacity advice")
        offers, why = with_obtainability(rest, name, offers)
        notes += [f"Compute Engine gives no obtainability for some: {why}"] if why else []
    return MachineOffers(tuple(offers), tuple(types), tuple(dict.fromkeys(notes)))


def _ends(gpu: str) -> tuple[str, ...]:
    """Short names: ``l4`` for ``nvidia-l4``, ``t4`` for ``nvidia-tesla-t4``."""
    short = gpu.removeprefix("nvidia-")
    return short, short.removeprefix("tesla-")


def _shapes(rest: RestApi, project: str, regions: Sequence[str], notes: list[str], *, with_gpus: bool) -> Found:
    """By region, machine type and GPUs: the shape, and the zones that have it."""
    found: Found = {}

    def add(zone: str, shape: MachineShape) -> None:
        key = (region_of(zone), shape.name, shape.gpu, shape.gpu_count)
        found.setdefault(key, (shape, []))[1].append(zone)

    gpus = _aggregated(rest, project, "acceleratorTypes", "", "name", notes) if with_gpus else ()
    attachable = {(zone, str(gpu.get("name"))) for zone, gpu in gpus if gpu.get("name") in ATTACHABLE}
    expression = f'name eq "{NAMES if with_gpus else PLAIN_NAMES}"'
    for zone, raw in _aggregated(rest, project, "machineTypes", expression, FIELDS, notes):
        deprecated = raw.get("deprecated")
        if (regions and region_of(zone) not in regions) or (
            isinstance(deprecated, dict) and deprecated.get("state") in OLD
        ):
            continue
        own = machine_shape(raw, {})
        if own is not None and bool(own.gpu) == with_gpus:
            add(zone, own)
        for count, names in N1_SIZES.items():
            for gpu in ATTACHABLE if raw.get("name") in names else ():
                if (zone, gpu) in attachable and (shape := machine_shape(raw, {gpu: count})) is not None:
                    add(zone, shape)
    return found


def _aggregated(
    rest: RestApi, project: str, kind: str, expression: str, fields: str, notes: list[str]
) -> Iterator[tuple[str, Json]]:
    """Each zone's resources of one kind."""
    query = {
        "maxResults": "500",
        "returnPartialSuccess": "true",
        "fields": f"items/*/{kind}({fields}),items/*/warning,nextPageToken",
        **({"filter": expression} if expression else {}),
    }
    missed: set[str] = set()
    path = compute_path("projects", project, "aggregated", kind)
    for page in rest.pages(path, query, doing=f"list the {'machine types' if kind == 'machineTypes' else 'GPUs'}"):
        scopes = page.get("items")
        for scope, listed in scopes.items() if isinstance(scopes, dict) else ():
            if not isinstance(listed, dict):
                continue
            zone, warning = last_segment(str(scope)), listed.get("warning")
            if isinstance(warning, dict) and warning.get("code", "") not in COMPLETE_WARNINGS:
                missed.add(zone)
            yield from ((zone, each) for each in dicts(listed.get(kind)))
    if missed:
        notes.append(f"Skipped {', '.join(sorted(missed))}: Compute Engine does not respond for these zones")


def _prices(environ: Mapping[str, str], progress: Progress, deadline: Deadline, notes: list[str]) -> PriceList | None:
    try:
        return current_prices(environ, progress=progress, deadline=deadline.within(PRICES_TIMEOUT_S))
    except RemoteRuntimeError as error:
        if error.code == "interrupted":
            raise
        reason = "the price list took too long" if isinstance(error, DeadlinePassed) else error.why or error.what
        notes.append(f"Prices are not shown: {reason}")
        return None


def _offer(shape: MachineShape, zones: Sequence[str], prices: PriceList | None) -> MachineOffer:
    region = region_of(zones[0])

    def amount(provisioning: str) -> float | None:
        price = hourly_price(prices, shape, [], region, provisioning) if prices is not None else None
        return round(price.amount, 6) if price is not None else None

    return MachineOffer(
        machine_type=shape.name,
        cpus=shape.cpus,
        memory_gb=round(shape.memory_mb / 1024, 2),
        gpu=shape.gpu,
        gpu_count=shape.gpu_count,
        region=region,
        zones=tuple(sorted(zones)),
        price=amount("standard"),
        spot_price=amount("spot"),
        is_attached=bool(shape.gpu) and shape.name.startswith("n1-"),
    )


def _order(offer: MachineOffer) -> tuple[Any, ...]:
    unknown = offer.price is None
    return offer.gpu, offer.gpu_count, offer.cpus, offer.machine_type, unknown, offer.price or 0.0, offer.region
