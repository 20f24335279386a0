"""Requests to a machine of the cluster; each takes one SSH exec channel, and is handled there by ``remote/``."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.callbacks import Progress, RunCommand
from ..core.cluster import ClusterSettings, Credentials
from ..core.deadline import Deadline
from ..core.fast_dataclass import fast_dataclass
from ..core.profile import JupyterSettings
from ..core.sanitize import clean_line
from ..launcher.call import call_launcher, invalid_reply

MAX_WORKERS = 256
BORROWED = tuple(
    f"jupyter.remote.{name}"
    for name in ("data_dir", "host", "login_environment", "processes", "python_candidates", "request")
)
_call = functools.partial(call_launcher, program="cluster", borrowed=BORROWED)


@fast_dataclass(frozen=True)
class MachineSpec:
    """A machine of a cluster. ``key``: its folder there. ``settings``: of its profile: the Python and the
    environment."""

    key: str
    settings: JupyterSettings
    credentials: Credentials

    def request(self, action: str) -> dict[str, Any]:
        credentials = {
            "ca": self.credentials.ca, "certificate": self.credentials.certificate,
            "key": self.credentials.key.reveal(),
        }  # fmt: skip
        return {"do": action, "key": self.key, "credentials": credentials, "env": dict(self.settings.env)}


@fast_dataclass(frozen=True)
class PreparedHead:
    """``created``: its folder did not exist before."""

    port: int
    directory: str
    created: bool


@fast_dataclass(frozen=True)
class Scheduler:
    """``versions``: of Python and the packages, which the workers' must be. ``addresses``: of its machine."""

    port: int
    versions: Mapping[str, str]
    addresses: tuple[str, ...]


@fast_dataclass(frozen=True)
class ReportedWorker:
    """A worker as the scheduler knows it. ``memory``: bytes. ``tasks``: that it has now."""

    name: str
    address: str
    threads: int
    memory: int
    tasks: int


@fast_dataclass(frozen=True)
class Report:
    """``text``: what the machine sent, for the next ``watch``."""

    running: bool
    workers: tuple[ReportedWorker, ...] = ()
    text: str = ""


def head_key(name: str, client_id: str) -> str:
    return f"{name}-{client_id}"


def worker_key(name: str, client_id: str, worker: str) -> str:
    return f"{head_key(name, client_id)}.{worker}"


def prepare(run: RunCommand, spec: MachineSpec, port: int, *, progress: Progress, deadline: Deadline) -> PreparedHead:
    """The certificates are on the machine, and the scheduler has a port: ``port``, or a free one if that is 0."""
    request = {**spec.request("prepare"), "port": port}
    match _call(run, request, python=spec.settings.python, progress=progress, deadline=deadline):
        case {"port": int(chosen), "directory": str(directory), "created": bool(created)} if 0 < chosen < 65536:
            return PreparedHead(chosen, clean_line(directory, 4096), created)
    raise invalid_reply("expected the cluster's folder and port")


def start_scheduler(
    run: RunCommand, spec: MachineSpec, port: int, *, progress: Progress, deadline: Deadline
) -> Scheduler:
    """The scheduler runs, with the Python of the runtime's kernels. Raises ``MachineError``."""
    request = {
        **spec.request("scheduler"), "port": port, "server_key": spec.key, "preload": _preload("scheduler_preload"),
    }  # fmt: skip
    match _call(run, request, python=spec.settings.python, progress=progress, deadline=deadline):
        case {"versions": dict(versions), "addresses": list(addresses)} if len(versions) <= 8 and len(addresses) <= 16:
            words = {clean_line(str(name), 40): clean_line(str(each), 40) for name, each in versions.items()}
            return Scheduler(port, words, tuple(clean_line(str(each), 60) for each in addresses))
    raise invalid_reply("expected the scheduler's versions and addresses")


def watch(run: RunCommand, spec: MachineSpec, seen: str, *, for_s: float, deadline: Deadline) -> Report:
    """Returns when workers have joined or left since ``seen``, or after ``for_s``."""
    request = {"do": "watch", "key": spec.key, "seen": seen, "for_s": for_s}
    reply = _call(run, request, python=spec.settings.python, progress=lambda text: None, deadline=deadline)
    match reply:
        case {"running": bool(running), "report": str(text)} if len(text) < 2**20:
            return Report(running, _parse_workers(text), text)
    raise invalid_reply("expected the scheduler's report")


def start_worker(
    run: RunCommand,
    spec: MachineSpec,
    name: str,
    cluster: ClusterSettings,
    scheduler: Scheduler,
    *,
    progress: Progress,
    deadline: Deadline,
) -> None:
    """Returns when the worker has joined the scheduler. Raises ``MachineError``."""
    request = {
        **spec.request("worker"), "name": name, "python": spec.settings.python,
        "working_dir": spec.settings.working_dir, "versions": dict(scheduler.versions),
        "addresses": list(scheduler.addresses), "port": scheduler.port, "threads": cluster.threads,
        "memory": cluster.memory, "preload": _preload("worker_preload"),
    }  # fmt: skip
    match _call(run, request, python=spec.settings.python, progress=progress, deadline=deadline):
        case {"address": str(_), "python": str(_)}:
            return
    raise invalid_reply("expected the worker's address")


def stop(run: RunCommand, key: str, settings: JupyterSettings, *, deadline: Deadline) -> bool:
    """Nothing of the cluster is left on the machine. Returns whether there was something."""
    request = {"do": "stop", "key": key}
    match _call(run, request, python=settings.python, progress=lambda text: None, deadline=deadline):
        case {"stopped": bool(stopped)}:
            return stopped
    raise invalid_reply("expected whether it was stopped")


def _preload(name: str) -> str:
    return Path(__file__).with_name("remote").joinpath(f"{name}.py").read_text(encoding="utf-8")


def _parse_workers(text: str) -> tuple[ReportedWorker, ...]:
    try:
        listed = json.loads(text)
        return tuple(_parse_worker(each) for each in listed[:MAX_WORKERS])
    except (ValueError, TypeError, KeyError) as error:
        raise invalid_reply("expected a list of workers") from error


def _parse_worker(each: Any) -> ReportedWorker:
    name, address = clean_line(str(each["name"]), 80), clean_line(str(each["address"]), 80)
    return ReportedWorker(name, address, int(each["threads"]), int(each["memory"]), int(each["tasks"]))
