"""The values that the packages pass to each other: instance, server, health, runtime. All are immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Literal
from urllib.parse import quote

from .access import InstalledKey, LoginAccess
from .creation import CloudResource, CreationPlan, ZoneAttempt
from .fast_dataclass import fast_dataclass
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
    when the VM started in this runtime; empty if unknown.
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
