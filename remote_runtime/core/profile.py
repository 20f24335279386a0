"""A profile and its sections: target, SSH, Jupyter, forwards, Colab, `down`, idleness and timeouts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Literal

from .cluster import ClusterSettings
from .creation import CreateSettings
from .fast_dataclass import fast_dataclass

COLAB_ORIGIN = "https://colab.research.google.com"
# Google serves the same page at both.
COLAB_ORIGINS = (COLAB_ORIGIN, "https://colab.google.com")


@fast_dataclass(frozen=True)
class GceTarget:
    """A Compute Engine instance, by name or by labels. ``zones``, ``regions``: where ``create`` may make it, in this
    order. ``create``: None creates nothing."""

    instance: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    project: str | None = None
    zone: str | None = None
    zones: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    connect: Literal["auto", "external", "internal", "iap"] = "auto"
    start: bool = True
    create: CreateSettings | None = None
    kind: Literal["gce"] = "gce"


@fast_dataclass(frozen=True)
class SshTarget:
    """Any SSH host: a name of ~/.ssh/config, a host name or an address."""

    host: str
    port: int | None = None
    jump: tuple[str, ...] = ()
    kind: Literal["ssh"] = "ssh"


@fast_dataclass(frozen=True)
class LocalTarget:
    """This machine, without SSH."""

    kind: Literal["local"] = "local"


@fast_dataclass(frozen=True)
class DemoTarget:
    """The emulated Compute Engine machine on loopback. Without an ``external_address`` it is reached through an
    emulated Identity-Aware Proxy. ``zones``, ``create``: as of ``GceTarget``; without ``create`` it exists already."""

    external_address: bool = True
    zones: tuple[str, ...] = ()
    create: CreateSettings | None = None
    kind: Literal["demo"] = "demo"


Target = GceTarget | SshTarget | LocalTarget | DemoTarget


@fast_dataclass(frozen=True)
class Algorithms:
    """The algorithms that ~/.ssh/config allows, by OpenSSH's names; empty where it names none."""

    host_keys: tuple[str, ...] = ()
    public_keys: tuple[str, ...] = ()
    kex: tuple[str, ...] = ()
    ciphers: tuple[str, ...] = ()
    macs: tuple[str, ...] = ()
    ca_signatures: tuple[str, ...] = ()
    rsa_bits: int = 0  # RequiredRSASize


@fast_dataclass(frozen=True)
class SshSettings:
    user: str | None = None
    port: int | None = None
    identity_file: str | None = None
    host_key: Literal["verified", "accept-new"] = "verified"
    key_lifetime_s: float = 86400.0
    keepalive_s: float = 15.0
    # From ~/.ssh/config, in OpenSSH's meaning; ``ssh.resolve`` fills these in.
    identity_files: tuple[str, ...] = ()
    identities_only: bool = False
    identity_agent: str | None = None
    proxy_jump: tuple[str, ...] = ()
    proxy_command: str | None = None
    known_hosts_files: tuple[str, ...] = ()
    updates_known_hosts: bool = True  # whether ``ssh`` itself would save a key that it accepts
    certificate_files: tuple[str, ...] = ()
    address_family: Literal["any", "inet", "inet6"] = "any"
    allowed_algorithms: Algorithms = field(default_factory=Algorithms)


@fast_dataclass(frozen=True)
class AttachSettings:
    """A Jupyter server that the user already runs on the machine. ``token_file``: None for Jupyter's own runtime
    file."""

    port: int
    token_file: str | None = None


@fast_dataclass(frozen=True)
class JupyterSettings:
    """``kernels``: where environments that become kernels are: ``auto`` and paths on the machine; empty for off."""

    python: str = "auto"
    install: Literal["auto", "never"] = "auto"
    working_dir: str = "~"
    port: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    args: tuple[str, ...] = ()
    attach: AttachSettings | None = None
    packages: tuple[str, ...] = ()
    lab: Literal["auto", "never"] = "auto"
    record_outputs: bool = True
    kernels: tuple[str, ...] = ("auto",)


@fast_dataclass(frozen=True)
class ExtraForward:
    """``LOCAL:HOST:REMOTE``; HOST is seen from the machine. With the port 0 it is the path of a unix socket there."""

    local_port: int
    remote_port: int
    host: str = "127.0.0.1"


@fast_dataclass(frozen=True)
class ForwardSettings:
    """``local_port``: None (auto), a port, or an inclusive range (first, last)."""

    local_port: int | tuple[int, int] | None = None
    engine: Literal["auto", "fast", "sshtunnel"] = "auto"
    extra: tuple[ExtraForward, ...] = ()


@fast_dataclass(frozen=True)
class ColabSettings:
    origins: tuple[str, ...] = COLAB_ORIGINS


@fast_dataclass(frozen=True)
class OnDownSettings:
    server: Literal["stop", "keep"] = "stop"
    instance: Literal["keep", "stop", "suspend", "delete"] = "keep"


@fast_dataclass(frozen=True)
class IdleSettings:
    """``after_s``: None means never."""

    after_s: float | None = None
    do: Literal["stop-server", "stop-instance", "suspend-instance"] = "stop-instance"


@fast_dataclass(frozen=True)
class Timeouts:
    """The limits of the steps of `up` and of a reconnect. What waits inside a step shares its limit, and has no shorter
    one of its own. ``install_s``: beside ``jupyter_s``, for the packages of a private environment."""

    instance_s: float = 300.0
    ssh_s: float = 60.0
    jupyter_s: float = 120.0
    install_s: float = 900.0
    ready_s: float = 30.0

    @property
    def total_s(self) -> float:
        return self.instance_s + self.ssh_s + self.jupyter_s + self.install_s + self.ready_s


@fast_dataclass(frozen=True)
class Profile:
    """What the user asks for. ``path``: the file of the profile."""

    name: str
    path: Path
    target: Target
    ssh: SshSettings = field(default_factory=SshSettings)
    jupyter: JupyterSettings = field(default_factory=JupyterSettings)
    forward: ForwardSettings = field(default_factory=ForwardSettings)
    colab: ColabSettings = field(default_factory=ColabSettings)
    on_down: OnDownSettings = field(default_factory=OnDownSettings)
    idle: IdleSettings = field(default_factory=IdleSettings)
    timeouts: Timeouts = field(default_factory=Timeouts)
    cluster: ClusterSettings | None = None

    @property
    def creation(self) -> CreateSettings | None:
        """What `up` creates if it does not exist."""
        return self.target.create if isinstance(self.target, GceTarget | DemoTarget) else None

    @property
    def up_timeout_s(self) -> float:
        """The limit of a whole `up`."""
        return self.timeouts.total_s + (self.creation.capacity_wait_s if self.creation else 0.0)

    def target_fields(self) -> dict[str, str]:
        """The target for the state file and the JSON output: its text fields that are set."""
        return {key: value for key, value in vars(self.target).items() if value and isinstance(value, str)}

    def overridden(self, local_port: int | None, extra: tuple[ExtraForward, ...]) -> Profile:
        """This profile with the options of a command line: another local port, unless it is None, and more forwards."""
        forward = replace(self.forward, extra=self.forward.extra + extra)
        return replace(self, forward=forward if local_port is None else replace(forward, local_port=local_port))
