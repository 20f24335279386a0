"""Which zones offer a machine type, and what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...core.creation import GPU_FAMILIES, CreateSettings
from ...core.errors import CloudError, DeadlinePassed
from ...core.fast_dataclass import fast_dataclass
from ...core.shell_command import shell_command
from ..client.api import Api
from ..instances.convert import clean_name, last_segment, unreachable_zones_in
from ..prices.hourly import MachineShape

if TYPE_CHECKING:
    from google.cloud import compute_v1


@fast_dataclass(frozen=True)
class Offer:
    """The zones that have the machine type and the GPU, and what the machine is. ``zones``, ``shape``: None if
    unknown."""

    zones: frozenset[str] | None
    machine: str
    has_gpu: bool
    shape: MachineShape | None = None


def read_offer(api: Api, settings: CreateSettings) -> Offer:
    """Which zones offer the machine type and the GPU."""
    from google.cloud import compute_v1

    kind, gpu = settings.machine_type, settings.gpu
    gpus = f"{gpu.count} {gpu.type}" if gpu else ""
    has_gpu = gpu is not None or kind.partition("-")[0] in GPU_FAMILIES
    try:
        machines = _list_offers(api, api.client(compute_v1.MachineTypesClient), "machine_types", kind)
        zones = frozenset(machines)
        if gpu is not None:
            accelerators = _list_offers(
                api, api.client(compute_v1.AcceleratorTypesClient), "accelerator_types", gpu.type
            )
            zones &= frozenset(accelerators)
    except (CloudError, DeadlinePassed) as exc:
        if isinstance(exc, DeadlinePassed) or exc.code == "cloud-unreachable":
            raise
        api.progress(f"Can't list the zones that have {kind}: {exc.why or exc.what}")
        return Offer(None, ", ".join(filter(None, (kind, gpus))), has_gpu)
    if not machines:
        what = f"Compute Engine offers no machine type {kind} to project {api.project}"
        raise CloudError("instance-not-created", what, hint=list_command("machine-types", api, f"--filter=name:{kind}"))
    any_machine: compute_v1.MachineType = next(iter(machines.values()))
    own = [
        f"{each.guest_accelerator_count} {clean_name(each.guest_accelerator_type)}" for each in any_machine.accelerators
    ]
    facts = f"{any_machine.guest_cpus} vCPUs, {any_machine.memory_mb / 1024:.4g} GB"
    words = f"{kind} ({', '.join(filter(None, (facts, *own)))})" if any_machine.guest_cpus else kind
    return Offer(zones, ", ".join(filter(None, (words, gpus))), has_gpu or bool(own), _shape(any_machine, settings))


def _shape(machine: compute_v1.MachineType, settings: CreateSettings) -> MachineShape | None:
    """What of it costs money; None if it has several types of GPUs."""
    gpus = {each.guest_accelerator_type: each.guest_accelerator_count for each in machine.accelerators}
    if settings.gpu is not None:
        gpus = {settings.gpu.type: settings.gpu.count}
    if len(gpus) > 1:
        return None
    gpu, count = next(iter(gpus.items()), ("", 0))
    bundled = getattr(machine, "bundled_local_ssds", None)  # an older client does not know it
    local_ssds = bundled.partition_count if bundled is not None else 0
    return MachineShape(
        machine.name, machine.guest_cpus, machine.memory_mb, gpu, count, local_ssds, machine.is_shared_cpu
    )


def _list_offers(api: Api, client: Any, what: str, name: str) -> dict[str, Any]:
    """The machine type, or the accelerator type, of this name by zone."""

    def listed(*, request: dict[str, Any], retry: None, timeout: float) -> tuple[dict[str, Any], set[str]]:
        found: dict[str, Any] = {}
        missed: set[str] = set()
        for page in client.aggregated_list(request=request, retry=retry, timeout=timeout).pages:
            missed |= unreachable_zones_in(page)
            for scope, offered in page.items.items():
                found.update({last_segment(scope): each for each in getattr(offered, what) if each.name == name})
        return found, missed

    method: Callable[..., tuple[dict[str, Any], set[str]]] = listed
    request = {"project": api.project, "filter": f'name = "{name}"'}
    found, missed = api.call(method, request, doing=f"list the zones that have {name}")
    if missed:
        api.progress(f"Skipped {', '.join(sorted(missed))}: Compute Engine does not respond for these zones")
    return found


def list_command(what: str, api: Api, *options: str) -> str:
    """The hint to list what there is."""
    return f"Run {shell_command('gcloud', 'compute', what, 'list', f'--project={api.project}', *options)}"
