"""A cluster: several machines on which an engine distributes the work of a runtime's kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from .access import InstalledKey
from .fast_dataclass import fast_dataclass
from .instance import Instance
from .secret import Secret

WorkerState = Literal["waiting", "starting", "joined", "lost", "failed", "removed"]


@fast_dataclass(frozen=True)
class WorkerGroup:
    """``profile``: the name of the profile whose machine is the worker."""

    profile: str


@fast_dataclass(frozen=True)
class ClusterSettings:
    """``threads``: of each worker, None for one for each core. ``memory``: its limit, as Dask reads it."""

    workers: tuple[WorkerGroup, ...]
    engine: Literal["dask"] = "dask"
    threads: int | None = None
    memory: str = "auto"


@fast_dataclass(frozen=True)
class Credentials:
    """PEM: the cluster's CA, and the certificate and key that all of its processes use. The CA's key is not kept."""

    ca: str
    certificate: str
    key: Secret


@fast_dataclass(frozen=True)
class ClusterWorker:
    """``name``: of its profile; ``profile_text``: that profile, from which `down` works. ``why``: the reason where it
    has not joined; ``code``: the error's. ``instance``: None until its machine was found. ``has_joined``: it has been
    part of the cluster. ``keys``: installed keys. ``address``, ``threads``, ``memory``, ``tasks``: as the scheduler
    reports them."""

    name: str
    profile_path: str
    profile_text: str
    state: WorkerState = "waiting"
    why: str = ""
    code: str = ""
    instance: Instance | None = None
    has_joined: bool = False
    keys: tuple[InstalledKey, ...] = ()
    address: str = ""
    threads: int = 0
    memory: int = 0
    tasks: int = 0


@fast_dataclass(frozen=True)
class Cluster:
    """``port``: the scheduler's, 0 until the head was prepared; ``directory``: the cluster's folder there. ``state``,
    ``why`` and ``code``: the scheduler's."""

    credentials: Credentials
    engine: Literal["dask"] = "dask"
    port: int = 0
    directory: str = ""
    state: Literal["starting", "running", "failed"] = "starting"
    why: str = ""
    code: str = ""
    workers: tuple[ClusterWorker, ...] = ()

    def worker(self, name: str) -> ClusterWorker:
        return next(each for each in self.workers if each.name == name)

    @property
    def joined(self) -> int:
        """How many workers the scheduler has now."""
        return sum(each.state == "joined" for each in self.workers)


def cluster_document(cluster: Cluster) -> Mapping[str, Any]:
    """The ``cluster`` of the JSON output: without credentials."""
    return {
        "engine": cluster.engine,
        "state": cluster.state,
        "why": cluster.why or None,
        "code": cluster.code or None,
        "port": cluster.port or None,
        "workers": [
            {
                "name": each.name,
                "state": each.state,
                "why": each.why or None,
                "code": each.code or None,
                "host": each.instance.name if each.instance else None,
                "address": each.address or None,
                "threads": each.threads,
                "memory": each.memory,
                "tasks": each.tasks,
            }
            for each in cluster.workers
        ],
    }
