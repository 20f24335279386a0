"""Plans a creation: the image, the machine, and the zones in the order in which they are tried. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...core.callbacks import Progress
from ...core.creation import CREATED_BY_LABEL, CreateSettings, CreationPlan, PlannedZone, region_of
from ...core.deadline import Deadline
from ...core.errors import CloudError
from ...core.model import CreationCheck, Finding
from ...core.profile import GceTarget
from ...core.shell_command import shell_command
from ..client import gcloud_config
from ..client.api import Api, open_api
from ..client.error_mapping import InvalidRequest, NotFound
from ..creation_checks.checks import notes_of, raise_first_failure, run_checks
from ..creation_checks.request import CreationRequest
from ..instances import search
from ..instances.convert import clean_name, last_segment, status_of
from ..prices.beside import PricesBeside
from ..prices.hourly import DiskShape
from ..worker_protocol import TIMEOUT_HINT
from .advice import obtainability
from .offer import Offer, list_command, read_offer

if TYPE_CHECKING:
    from google.cloud import compute_v1

BY_PROFILE = "the profile's order"
# For the price list, some seconds on a slow link, from the start of the plan.
PRICE_WITHIN_S = 10.0


def plan_creation(
    target: GceTarget,
    client_id: str,
    *,
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
    first_zone: str = "",
    needs_internet: bool = True,
    price_within_s: float = PRICE_WITHIN_S,
) -> CreationPlan:
    """What ``target.create`` means now. ``first_zone``: is tried first, as an earlier creation had asked for it there.
    ``needs_internet``: `up` installs Jupyter unless the image has it. ``price_within_s``: how long the plan waits for
    the price list, without which it has no price.

    Raises ``CloudError``: ``instance-not-created`` for an image, a zone or a network that does not exist, and where an
    instance of this name exists in a zone that the profile does not allow; ``no-egress``, ``firewall-blocked`` and
    ``permission-denied`` where `up` could not use the VM.
    """
    settings, name = target.create, target.instance
    if settings is None or name is None:
        raise ValueError("expected a target with `create` and `instance`")
    api = open_api(environ, progress=progress, deadline=deadline)
    api.timeout_hint = TIMEOUT_HINT
    api.project = gcloud_config.project(target.project, environ, api.identity.project).value
    progress(f"Planning {name} in project {api.project}")
    prices = PricesBeside(environ, deadline, progress=progress, within_s=price_within_s)
    _check_name_is_free(api, target)
    plan, findings = _examined(api, target, client_id, prices, first_zone=first_zone, needs_internet=needs_internet)
    raise_first_failure(findings)
    return replace(plan, notes=notes_of(findings))


def check_creation(
    target: GceTarget,
    *,
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
    needs_internet: bool = True,
) -> CreationCheck:
    """The plan of a VM that does not exist, and what the checks found. Raises ``CloudError`` as ``plan_creation`` for
    what the profile names and does not exist."""
    api = open_api(environ, progress=progress, deadline=deadline)
    api.project = gcloud_config.project(target.project, environ, api.identity.project).value
    prices = PricesBeside(environ, deadline, progress=progress, within_s=PRICE_WITHIN_S)
    return CreationCheck(*_examined(api, target, "", prices, needs_internet=needs_internet))


def _examined(
    api: Api, target: GceTarget, client_id: str, prices: PricesBeside, *, needs_internet: bool, first_zone: str = ""
) -> tuple[CreationPlan, tuple[Finding, ...]]:
    settings, name = target.create, target.instance
    if settings is None or name is None:
        raise ValueError("expected a target with `create` and `instance`")
    offer = read_offer(api, settings)
    zones = order_zones(api, _candidates(api, target), settings, offer, first_zone, advised=bool(target.regions))
    image = _image(api, settings)
    disk_gb = settings.boot_disk.size_gb or int(image.disk_size_gb)
    if disk_gb < image.disk_size_gb:
        why = f"the image {clean_name(image.name)} needs {image.disk_size_gb} GB"
        hint = f"Set `target.create.boot_disk.size: {image.disk_size_gb}GB` or more"
        raise CloudError("instance-not-created", f"The boot disk of {name} is too small: {disk_gb} GB", why, hint)
    usable = [zone.name for zone in zones if not zone.skip]
    request = CreationRequest(
        project=api.project,
        settings=settings,
        regions=tuple(dict.fromkeys(map(region_of, usable))),
        connect=target.connect,
        shape=offer.shape,
        image=image.self_link,
        disk_gb=disk_gb,
        needs_internet=needs_internet,
        environ=api.environ,
        identity=api.identity,
        deadline=api.deadline,
    )
    findings = run_checks(request)
    plan = CreationPlan(
        instance=name,
        project=api.project,
        settings=settings,
        zones=zones,
        image=image.self_link,
        image_name=clean_name(image.name),
        machine=offer.machine,
        disk_gb=disk_gb,
        client_id=client_id,
        has_gpu=offer.has_gpu,
        price=prices.price(
            offer.shape,
            [DiskShape(settings.boot_disk.type, disk_gb)],
            region_of(usable[0]),
            settings.provisioning,
            list(image.licenses),
        ),
    )
    return plan, findings


def _check_name_is_free(api: Api, target: GceTarget) -> None:
    """Raises ``CloudError`` where another instance has the name in a zone that the profile does not look in. One that
    `up` created meanwhile is used later."""
    name = target.instance or ""
    for raw in find_by_name(api, name):
        zone = last_segment(raw.zone)
        if target.zone not in (None, zone) and CREATED_BY_LABEL not in raw.labels:
            what = f"{name} exists in {zone} ({status_of(raw)}), and the profile sets `target.zone: {target.zone}`"
            hint = f"Set `target.zone: {zone}`, or another `target.instance`"
            raise CloudError("instance-not-created", what, "a second VM of this name is not created", hint)


def find_by_name(api: Api, name: str) -> list[compute_v1.Instance]:
    """The instances of this name in all zones. Raises ``CloudError`` also if a zone does not respond: a second one is
    never created."""
    listing = search.list_all(api, f'name = "{name}"')
    if listing.unreachable_zones:
        what = f"Compute Engine does not respond for {', '.join(listing.unreachable_zones)}"
        hint = "Try again later; https://status.cloud.google.com shows outages"
        raise CloudError("cloud-unreachable", what, f"{name} may exist there, and is not created twice", hint)
    return [raw for raw in listing.instances if raw.name == name]


def _candidates(api: Api, target: GceTarget) -> tuple[str, ...]:
    """The profile's zones, or those of its regions, by name."""
    if not target.regions:
        return target.zones or ((target.zone,) if target.zone else ())
    return tuple(zone for region in target.regions for zone in zones_of(api, region))


def zones_of(api: Api, region: str) -> list[str]:
    from google.cloud import compute_v1

    client = api.client(compute_v1.RegionsClient)
    method: Callable[..., compute_v1.Region] = client.get
    try:
        found = api.call(method, {"project": api.project, "region": region}, doing=f"read the region {region}")
    except (NotFound, InvalidRequest) as exc:
        what = f"Compute Engine has no region {region}"
        raise CloudError("instance-not-created", what, exc.why, list_command("regions", api)) from exc
    return sorted(last_segment(url) for url in found.zones)


def order_zones(
    api: Api,
    candidates: Sequence[str],
    settings: CreateSettings,
    offer: Offer,
    first_zone: str,
    *,
    advised: bool,
) -> tuple[PlannedZone, ...]:
    """``candidates`` in the order in which they are tried. The order of `zones` is the user's; that of the zones of a
    region is Compute Engine's advice."""
    missing = f"no {settings.machine_type} there" if settings.gpu is None else (
        f"no {settings.machine_type} with {settings.gpu.type} there"
    )  # fmt: skip
    usable = [zone for zone in candidates if offer.zones is None or zone in offer.zones]
    skipped = [PlannedZone(zone, skip=missing) for zone in candidates if zone not in usable]
    why = dict.fromkeys(usable, BY_PROFILE)
    if advised and len(usable) > 1:
        scores: dict[str, float] = {}
        for region in dict.fromkeys(map(region_of, usable)):
            scores |= obtainability(api, region, [zone for zone in usable if region_of(zone) == region], settings)
        regions = list(dict.fromkeys(map(region_of, usable)))
        usable.sort(key=lambda zone: (regions.index(region_of(zone)), -scores.get(zone, -1.0)))
        why |= {zone: f"obtainability {score:.0%}" for zone, score in scores.items() if zone in why}
    if first_zone in usable:
        usable.sort(key=lambda zone: zone != first_zone)
        why[first_zone] = "an earlier `up` had begun there"
    if not usable:
        what = f"None of the profile's zones has {settings.machine_type}"
        others = sorted(offer.zones or ())[:10]
        hint = f"Set `target.zones` to some of {', '.join(others)}" if others else ""
        raise CloudError("instance-not-created", what, f"{', '.join(candidates)}: {missing}", hint)
    return (*(PlannedZone(zone, why[zone]) for zone in usable), *skipped)


def _image(api: Api, settings: CreateSettings) -> compute_v1.Image:
    from google.cloud import compute_v1

    source = settings.image
    project, client = source.project or api.project, api.client(compute_v1.ImagesClient)
    words = f"image family {source.family}" if source.family else f"image {source.name}"
    get: Callable[..., compute_v1.Image] = client.get_from_family if source.family else client.get
    key = {"family": source.family} if source.family else {"image": source.name}
    try:
        return api.call(get, {"project": project, **key}, doing=f"read the {words} of project {project}")
    except (NotFound, InvalidRequest) as exc:
        hint = shell_command("gcloud", "compute", "images", "list", f"--project={project}", "--no-standard-images")
        raise CloudError("instance-not-created", f"No {words} in project {project}", exc.why, f"Run {hint}") from exc
