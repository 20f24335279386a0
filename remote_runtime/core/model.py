"""The values that the packages pass to each other: instance, server, health, runtime. All are immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal
from urllib.parse import quote

from .access import InstalledKey
from .cluster import Cluster
from .creation import CloudResource, CreationPlan, ZoneAttempt
from .fast_dataclass import fast_dataclass
from .instance import AttachedDisk as AttachedDisk
from .instance import Instance as Instance
from .metrics import Connections, KernelStatus, MachineLoad, RecordedOutputs, StreamStatus, Traffic
from .price import HourlyPrice
from .secret import MIN_TOKEN_CHARS as MIN_TOKEN_CHARS
from .secret import Secret as Secret
from .server import UNKNOWN_INTERPRETER as UNKNOWN_INTERPRETER
from .server import Gpu as Gpu
from .server import IdleWatchdog as IdleWatchdog
from .server import Kernelspec as Kernelspec
from .server import Server as Server


@fast_dataclass(frozen=True)
class CreationResult:
    """The VM after a creation: ``resource`` is it, None where a VM of another client is used."""

    instance: Instance
    attempts: tuple[ZoneAttempt, ...]
    resource: CloudResource | None = None


def format_address(host: str, port: int) -> str:
    """``host:port``, or the path of a unix socket if the port is 0."""
    return f"{host}:{port}" if port else host


Verdict = Literal["ready", "starting", "reconnecting", "unreachable", "stranger", "down"]


@fast_dataclass(frozen=True)
class Health:
    """The result of a check through the forwarded port. ``stranger``: an unknown process responds.
    ``missing_settings``: optional settings that an attached server lacks."""

    verdict: Verdict
    why: str = ""
    rtt_ms: float | None = None
    missing_settings: tuple[str, ...] = ()


@fast_dataclass(frozen=True)
class Forward:
    """A local port, and the address on the machine that it is forwarded to (see ``format_address``)."""

    local: int
    remote: str


@fast_dataclass(frozen=True)
class Runtime:
    """The state of one runtime, as the state file holds it and `status` shows it.

     ``target``: ``{"kind", …}`` of the profile. ``since``: ISO 8601, when it became ready, else when the keeper
    started. ``unfinished``: the first `up` has not succeeded, so `down` restores the instance's status.
    ``profile_text``: the profile in use, YAML, from which `down` works. ``client_id``: part of the name of its folder
    on the machine. ``last_error``: an error's ``as_dict()``. ``last_outage``: ``{"why", "at", "lasted_s"}``, and
    ``restarted``: why Jupyter was started again, if it was. ``local_host``: ``127.0.0.1`` where another program listens
    on [::1]. ``keys``: installed public keys, which `down --purge` removes. ``page_requests``: requests of the
    profile's origins that reached the server, None if unknown. ``idle_s``: as the watchdog on the machine reported it
    last. ``seen``: ISO 8601, the last contact with the machine, if there is none now. ``folder``: the machine may have
    a remote-runtime directory. ``streams``: None where connections end with the SSH connection; ``stream_key``: with
    which the next keeper ends those of this one. ``outputs``: None where none are recorded. ``resources``: what `up`
    created in the cloud, or was about to. ``price``: of an hour of the VM, None if unknown. ``price_since``: ISO 8601,
    when the VM started in this runtime; empty if unknown. ``cluster``: None without one.
    """

    name: str
    profile_path: str
    target: Mapping[str, str]
    client_id: str
    profile_text: str = ""
    state: Verdict = "starting"
    why: str = ""
    local_port: int | None = None
    local_host: str = "localhost"
    instance: Instance | None = None
    server: Server | None = None
    forwards: tuple[Forward, ...] = ()
    keeper_pid: int = 0
    since: str = ""
    reconnects: int = 0
    last_outage: Mapping[str, str | float] | None = None
    rtt_ms: float | None = None
    kernels: int | None = None
    busy_kernels: int | None = None
    kernel_list: tuple[KernelStatus, ...] = ()
    load: MachineLoad | None = None
    traffic: Traffic = field(default_factory=Traffic)
    connections: Connections = Connections()
    streams: StreamStatus | None = None
    stream_key: Secret | None = None
    page_requests: int | None = None
    idle_s: float | None = None
    outputs: RecordedOutputs | None = None
    seen: str = ""
    folder: bool = False
    keys: tuple[InstalledKey, ...] = ()
    last_error: Mapping[str, str] | None = None
    unfinished: bool = True
    resources: tuple[CloudResource, ...] = ()
    price: HourlyPrice | None = None
    price_since: str = ""
    cluster: Cluster | None = None
    tool_version: str = ""

    @property
    def url(self) -> Secret | None:
        """The URL for Colab, token included; None while there is no server or no port."""
        if self.server is None or self.local_port is None:
            return None
        return Secret(f"http://{self.local_host}:{self.local_port}/?token={quote(self.server.token.reveal(), safe='')}")


@fast_dataclass(frozen=True)
class Finding:
    """One line of `doctor`. ``code``: the error's, empty without one. For ``skipped``, ``why`` says what it needs;
    ``note``: something to know that was not checked."""

    check: str
    verdict: Literal["ok", "note", "warning", "failed", "skipped"]
    what: str
    why: str = ""
    hint: str = ""
    code: str = ""


@fast_dataclass(frozen=True)
class CreationCheck:
    """What `up` would create, and what was found of what that needs."""

    plan: CreationPlan
    findings: tuple[Finding, ...]


ServerEnd = Literal["stopped", "kept", "gone", "unknown"]


@fast_dataclass(frozen=True)
class TakeDownResult:
    """The state after a runtime was stopped. ``server``: ``unknown`` if the machine was not reached. ``instance``: its
    status, ``UNKNOWN`` if it could not be read, None without an instance. ``checked``: a kept server was seen running.
    ``remains``: what could not be removed, in words. ``instance_since``: ISO 8601, when an instance that keeps running
    was started. ``notes``: messages about what stays. ``elsewhere``: its Jupyter runs on another machine than the one
    that the login reached. ``price``, ``price_since``: as in ``Runtime``."""

    name: str
    tunnel: bool
    server: ServerEnd
    instance: str | None
    remains: tuple[str, ...] = ()
    instance_since: str = ""
    attached: bool = False
    notes: tuple[str, ...] = ()
    elsewhere: bool = False
    checked: bool = True
    price: HourlyPrice | None = None
    price_since: str = ""

    @property
    def server_still_ours(self) -> bool:
        """Whether a server that `up` started keeps running, which a later `down` should find."""
        return self.server == "kept" and not self.attached
