"""A running instance as the rest of the program needs it: its address, its host keys, and this computer's access."""

from __future__ import annotations

from dataclasses import replace

from ..core.errors import CloudError
from ..core.model import Instance
from .client.api import Api
from .client.gcloud_config import SourcedValue
from .instances import host_keys
from .instances.convert import gcloud_command, has_local_ssd, seconds_since, to_instance
from .instances.power import StatusPoller
from .login.access import read_access
from .worker_protocol import ReadyOptions


def ready_instance(
    api: Api, poller: StatusPoller, options: ReadyOptions, *, was_running: bool, started_from: str | None
) -> Instance:
    """``was_running``: it ran before this request. Raises ``CloudError`` ``no-address``."""
    instance = replace(to_instance(poller.raw, api.project, options.connect), started_from=started_from)
    if not instance.address and instance.via != "iap":
        raise _no_address_error(instance, options.connect)
    # A machine that has run for longer has published its keys, or never will.
    age_s, within_s = seconds_since(poller.raw.last_start_timestamp), options.host_keys_within_s
    is_late = was_running and (age_s is None or age_s >= within_s)
    wait_s = 0.0 if is_late or instance.host_key_name in options.known_hosts else within_s
    keys = host_keys.read_published(api, instance, poller.raw, wait_s=wait_s)
    access = read_access(api, poller.raw, options.login) if options.login is not None else None
    if has_local_ssd(poller.raw):
        api.progress(f"{instance.name} has a Local SSD: what is on it is lost when the instance is stopped")
    return replace(instance, host_keys=keys, access=access, credentials_from=api.identity.source)


def with_sources(instance: Instance, project: SourcedValue, zone: SourcedValue | None) -> Instance:
    """``instance``, with where its project and its zone were named."""
    in_search = zone is None or zone.value != instance.zone
    zone_from = "the search in all zones" if in_search or zone is None else zone.source
    return replace(instance, project_from=project.source, zone_from=zone_from)


def _no_address_error(instance: Instance, connect: str) -> CloudError:
    kind = "internal" if connect == "internal" else "external"
    return CloudError(
        "no-address",
        f"{instance.name} has no {kind} address",
        "it runs, but Compute Engine shows none",
        f"See its interfaces with {gcloud_command('instances', 'describe', instance)}",
    )
