"""The emulator's input, and its record of requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Json = dict[str, Any]


class Guest(Protocol):
    """The computer inside an instance. Called from the emulator's threads, one call at a time; may block."""

    def boot(self) -> Mapping[str, str]:
        """Power on and accept SSH. Returns the host keys: type (``ssh-ed25519``) → base64."""
        ...

    def halt(self) -> None:
        """Power off: no process survives."""

    def freeze(self) -> None:
        """Suspend: processes stop where they are, SSH does not answer."""

    def thaw(self) -> None:
        """Resume after ``freeze``."""


@dataclass(frozen=True)
class Vm:
    """An instance as it is when the emulator starts.

    ``address``: its external address while it runs; None: an ephemeral one of 203.0.113.0/24, another at each start.
    ``internal``: its address in its network; None: one of 10.128.0.0/24.
    ``network``, ``subnetwork``: where its interface is.
    ``external``: False for an instance without an external IPv4 address. ``external_ipv6``: the address, or empty.
    ``host_keys``: type → base64, for an instance without ``guest``; they reach the guest attributes
    ``host_keys_after_s`` seconds after the boot if ``metadata`` or the project says ``enable-guest-attributes``.
    ``boot_log``: what each boot writes to the serial port, a format with ``name``; empty for a usual boot.
    ``accelerator``: the type of a GPU that is attached, or empty. ``local_ssds``: how many Local SSDs are attached, for
    which ``stop`` and ``suspend`` have to say what becomes of their data. ``data_disks``: names of further disks.
    ``authorize``: called with the keys of its metadata and OS Login (user → ``TYPE BASE64`` lines) when it runs and at
    each change, ``authorize_after_s`` seconds later.
    ``content``: equal for instances whose boot disk has the same files; empty for a new disk.
    """

    name: str
    project: str = "demo"
    zone: str = "us-central1-a"
    status: str = "TERMINATED"
    labels: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=lambda: {"enable-guest-attributes": "TRUE"})
    address: str | None = None
    internal: str | None = None
    network: str = "default"
    subnetwork: str = "default"
    external: bool = True
    external_ipv6: str = ""
    host_keys: Mapping[str, str] = field(default_factory=dict)
    host_keys_after_s: float = 0.0
    service_account: str = ""
    spot: bool = False
    machine_type: str = "e2-standard-4"
    accelerator: str = ""
    local_ssds: int = 0
    data_disks: Sequence[str] = ()
    boot_log: str = ""
    guest: Guest | None = None
    authorize: Callable[[Mapping[str, Sequence[str]]], None] | None = None
    authorize_after_s: float = 0.0
    content: str = ""


@dataclass(frozen=True)
class Delays:
    """Seconds. An operation is PENDING for ``queue_s``, then works for the time of its kind; once RUNNING the guest
    needs ``boot_s`` until it accepts SSH. ``max_wait_s``: of ``zoneOperations.wait``. ``time_scale``: how long a second
    of ``maxRunDuration`` and of ``requestValidForDuration`` takes."""

    queue_s: float = 0.05
    start_s: float = 0.2
    stop_s: float = 0.1
    insert_s: float = 0.2
    delete_s: float = 0.1
    disk_s: float = 0.1
    metadata_s: float = 0.02
    boot_s: float = 0.05
    max_wait_s: float = 120.0
    time_scale: float = 1.0


@dataclass(frozen=True)
class Exchange:
    """One request and its answer. ``path`` starts at ``projects/``; ``method_id`` is empty if no method was found."""

    http_method: str
    path: str
    query: Mapping[str, str]
    body: Json | None
    status: int
    answer: Json
    method_id: str = ""
