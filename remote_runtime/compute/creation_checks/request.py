"""What the checks are about, and their requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ...core.creation import CreateSettings
from ...core.deadline import Deadline
from ...core.fast_dataclass import fast_dataclass
from ..client import gcloud_config
from ..client.credentials import Identity
from ..client.rest import RestApi, compute_path, open_rest
from ..prices.hourly import MachineShape

SSH_PORT = 22


@fast_dataclass(frozen=True)
class CreationRequest:
    """A VM that is to be created. ``regions``: those of its zones. ``shape``: None if unknown. ``image``: its link.
    ``needs_internet``: `up` installs Jupyter there. ``identity``: whose requests these are."""

    project: str
    settings: CreateSettings
    regions: tuple[str, ...]
    connect: Literal["auto", "external", "internal", "iap"]
    shape: MachineShape | None
    image: str
    disk_gb: int
    needs_internet: bool
    environ: Mapping[str, str]
    identity: Identity
    deadline: Deadline

    @property
    def uses_iap(self) -> bool:
        """Whether `up` connects through Identity-Aware Proxy, and by no other route."""
        return self.connect == "iap" or (self.connect == "auto" and not self.settings.external_address)

    @property
    def network_project(self) -> str:
        """A shared VPC network belongs to another project."""
        return _project_in(self.settings.network) or _project_in(self.settings.subnet) or self.project

    @property
    def network(self) -> str:
        """The name of the network; empty if only the subnet names it."""
        if self.settings.network:
            return _name_in(self.settings.network)
        return "" if self.settings.subnet else "default"

    @property
    def subnet(self) -> str:
        """The name of the subnet; empty for the network's own one of the region."""
        return _name_in(self.settings.subnet) if self.settings.subnet else ""

    def api(self, api: gcloud_config.ApiEndpoint = gcloud_config.COMPUTE) -> RestApi:
        return open_rest(self.environ, api, self.deadline, self.identity)

    def network_path(self, *parts: str) -> str:
        """A path in the project of the network."""
        return compute_path("projects", self.network_project, *parts)


def _project_in(path: str | None) -> str:
    parts = (path or "").split("/")
    return parts[parts.index("projects") + 1] if "projects" in parts[:-1] else ""


def _name_in(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
