"""A machine, as a target has found it."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from .access import LoginAccess
from .fast_dataclass import fast_dataclass


@fast_dataclass(frozen=True)
class AttachedDisk:
    """``is_deleted``: it is deleted together with the instance."""

    name: str
    size_gb: int
    is_deleted: bool


@fast_dataclass(frozen=True)
class Instance:
    """A machine, and the address of its SSH server.

    ``host_key_name``: its name in the pinned known_hosts (``compute.<id>`` on Compute Engine, else ``host`` or
    ``[host]:port``). ``host_keys``: those that Compute Engine publishes, as ``TYPE BASE64`` lines. ``status``: Compute
    Engine's, ``RUNNING`` for other machines. ``started_from``: its status before it was started or resumed, None if it
    was not. ``running_since``: ISO 8601, empty if unknown. ``project_from``, ``zone_from``, ``credentials_from``: the
    sources of these, in words. ``via``: the route, empty where there is only one; ``why_via``: the reason for it.
    ``access``: this computer's login there, None for other machines. ``created_by``: the client id in the label of a VM
    that `up` created, else empty. ``disks``: persistent ones.
    """

    kind: Literal["gce", "ssh", "local", "demo"]
    name: str
    address: str = ""
    port: int = 22
    status: str = "RUNNING"
    id: str | None = None
    zone: str | None = None
    project: str | None = None
    host_key_name: str = ""
    host_keys: tuple[str, ...] = ()
    started_from: str | None = None
    running_since: str = ""
    project_from: str = ""
    zone_from: str = ""
    credentials_from: str = ""
    access: LoginAccess | None = None
    via: Literal["", "external", "internal", "iap"] = ""
    why_via: str = ""
    created_by: str = ""
    disks: tuple[AttachedDisk, ...] = ()

    @property
    def where(self) -> str:
        """Its SSH server, for messages."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"port {self.port} of {self.name} through IAP" if self.via == "iap" else f"{host}:{self.port}"

    def with_route_of(self, previous: Instance) -> Instance:
        """This instance with the route of ``previous``, if it still has the address that did not answer then."""
        if (previous.via, self.via) != ("iap", "external") or (previous.id, previous.address) != (
            self.id,
            self.address,
        ):
            return self
        return replace(self, via=previous.via, why_via=previous.why_via)
