"""The machine that a profile names, as the rest of the program uses it: one interface for all kinds of target."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from ..core.access import InstalledKey, LoginAccess, SshServerAddress
from ..core.callbacks import Progress, Prompt, RunCommand
from ..core.creation import CloudResource, CreationPlan, ZoneAttempt
from ..core.deadline import Deadline
from ..core.errors import RemoteRuntimeError, from_code
from ..core.fast_dataclass import fast_dataclass
from ..core.model import CreationCheck, CreationResult, Instance
from ..core.move import MovePlan
from ..core.price import HourlyPrice
from ..core.profile import Profile, SshSettings

if TYPE_CHECKING:
    from ..ssh.open_port import SshPort
    from ..ssh.streams.client_streams import ClientStreams
    from ..tunnel.identity import ServerIdentity, Stream
    from ..tunnel.protocols import Forwarder


class TargetSession(Protocol):
    """A connection to a machine: ``ssh.Session`` or ``local.LocalSession``."""

    @property
    def closed(self) -> bool: ...
    @property
    def why_closed(self) -> str: ...
    @property
    def silent_s(self) -> float: ...
    def notify_closed(self, call: Callable[[], None]) -> None: ...
    @property
    def run(self) -> RunCommand: ...
    @property
    def is_fast(self) -> bool: ...
    @property
    def instance(self) -> Instance | None:
        """The machine with the route that the connection took; None for this computer."""

    def login_facts(self) -> Mapping[str, str]:
        """``host-key`` and ``login`` in words, ``agent`` where it did not answer; empty for this computer."""

    def ssh_server(self, deadline: Deadline) -> SshServerAddress | None:
        """Where the machine's SSH server accepted this login; None if that is not known. Raises as ``run``."""

    def dial(self, host: str, port: int, *, within_s: float) -> Stream: ...
    def forward_socket(self, sock: socket.socket, host: str, port: int, *, within_s: float) -> None: ...
    def channel_pool(self, host: str, port: int, *, identity: ServerIdentity | None) -> Forwarder | None: ...
    def stream_forwarder(
        self, host: str, port: int, identity: ServerIdentity, streams: ClientStreams
    ) -> Forwarder | None: ...
    def check(self, within_s: float) -> float: ...
    def shell(self, command: str | None) -> int: ...
    def close(self, why: str = ...) -> None: ...


@fast_dataclass(frozen=True)
class KeyPolicy:
    """Allows a key to be installed on the machine where it rejects all of this computer's.

    ``renew``: replace an installed key when less than half of its lifetime remains. ``before_install(keys)`` is called
    with all installed keys, the new one among them, before it is written; ``after_install(access, keys)`` afterwards.
    """

    before_install: Callable[[tuple[InstalledKey, ...]], None]
    after_install: Callable[[LoginAccess, tuple[InstalledKey, ...]], None]
    renew: bool = False

    @staticmethod
    def saved_by(save: Callable[[tuple[InstalledKey, ...]], None]) -> KeyPolicy:
        return KeyPolicy(save, lambda access, keys: save(keys))


def no_prompt(prompt: str, *, secret: bool, code: str) -> str:
    raise from_code(code, f"Input required: {prompt}", "`up` prompts for it once the machine is found")


@fast_dataclass(frozen=True)
class FindOptions:
    """``start``: start the machine if it does not run. ``restart_preempted``: start a VM that Compute Engine preempted,
    even without ``start``. ``on_start`` is called with the instance before a start is requested. ``in_background``: run
    at a low priority."""

    progress: Progress
    deadline: Deadline
    start: bool = False
    restart_preempted: bool = False
    on_start: Callable[[Instance], None] = lambda instance: None
    in_background: bool = False


@fast_dataclass(frozen=True)
class LoginOptions:
    """``installed_keys``: keys that were installed before. ``key_policy``: None installs no key. ``respond_within_s``,
    ``reconnect``: as ``ssh.connect``."""

    progress: Progress
    deadline: Deadline
    prompt: Prompt = no_prompt
    installed_keys: tuple[InstalledKey, ...] = ()
    key_policy: KeyPolicy | None = None
    respond_within_s: float | None = None
    reconnect: bool = False


@fast_dataclass(frozen=True)
class CreateOptions:
    """``before_insert`` is called with what is about to be created, ``after_zone`` when a zone has failed or has an
    instance of another client, ``after_delete`` with a snapshot that no longer exists."""

    progress: Progress
    deadline: Deadline
    before_insert: Callable[[CloudResource], None]
    after_zone: Callable[[ZoneAttempt], None]
    after_delete: Callable[[CloudResource], None] = lambda resource: None


class Target(ABC):
    """The machine of one profile. The defaults are those of a kind that can only be connected to."""

    profile: Profile

    @abstractmethod
    def find(self, options: FindOptions) -> Instance:
        """The machine, running. Raises ``CloudError``; ``SshError`` for an SSH host whose configuration cannot be
        used."""

    @abstractmethod
    def connect(self, instance: Instance, options: LoginOptions) -> TargetSession:
        """Connect and log in. Raises ``SshError``; ``CloudError``: `no-credentials` on the route through IAP, or for a
        key that cannot be installed."""

    def ssh_settings(self, instance: Instance, deadline: Deadline) -> SshSettings:
        """What ``connect`` logs in with. Raises ``SshError``."""
        raise ValueError("expected a machine with an SSH server")

    def open_ssh_port(self, instance: Instance, options: LoginOptions) -> SshPort:
        """A connection to its SSH port by the route of ``connect``, for another SSH client. Raises as ``connect``."""
        raise ValueError("expected a machine with an SSH server")

    def exists(self) -> bool:
        """False only for a demo machine that does not run: nothing can be left on it."""
        return True

    @property
    def uses_ssh(self) -> bool:
        """False for this computer."""
        return True

    def plan_creation(
        self, client_id: str, *, first_zone: str, progress: Progress, deadline: Deadline
    ) -> CreationPlan | None:
        """What ``create`` of the profile would make; None if the profile creates nothing. ``client_id``: for the label.
        ``first_zone``: is tried first, empty for none. Raises ``CloudError``."""
        return None

    def check_creation(self, *, progress: Progress, deadline: Deadline) -> CreationCheck | None:
        """What `up` would create, and whether it can; None if the profile creates nothing. Raises ``CloudError``."""
        return None

    def create(self, plan: CreationPlan, options: CreateOptions) -> CreationResult:
        """Create the machine in the first zone that has capacity. Raises ``CloudError``, ``DeadlinePassed``."""
        raise ValueError("expected a target that has planned a creation")

    def plan_move(
        self, client_id: str, *, delete_old: bool, quota: str, progress: Progress, deadline: Deadline
    ) -> MovePlan:
        """Where the machine, which does not run, can move. ``delete_old``: it is to be deleted afterwards. ``quota``:
        why it cannot start, if that is a quota. Raises ``CloudError``."""
        raise ValueError("expected a Compute Engine instance")

    def move(self, plan: MovePlan, options: CreateOptions) -> CreationResult:
        """Create the same machine, with its disks, in another zone. Raises as ``create``."""
        raise ValueError("expected a Compute Engine instance")

    def delete_old(self, plan: MovePlan, *, progress: Progress, deadline: Deadline) -> Sequence[str]:
        """Delete the machine that has moved; the names of its disks that stay. Raises ``CloudError``."""
        raise ValueError("expected a Compute Engine instance")

    def delete_resources(
        self, resources: Sequence[CloudResource], client_id: str, *, progress: Progress, deadline: Deadline
    ) -> Sequence[str]:
        """Delete what has the label of this client. What became of each: ``deleted``, ``gone`` (it did not exist),
        ``foreign`` (it has no such label and stays). Raises ``CloudError``, ``DeadlinePassed``."""
        return ["gone"] * len(resources)

    def find_created(self, client_id: str, *, progress: Progress, deadline: Deadline) -> Instance | None:
        """The machine that this client created, running or not; None if there is none. Raises ``CloudError``
        ``not-created-here`` for one that it did not create."""
        return None

    def has_pinned_host_key(self, instance: Instance) -> bool:
        """Whether a connection to the last address of ``instance`` could reach no other machine: its host key is
        pinned under its id."""
        return False

    def confirm_addresses(self) -> None:  # noqa: B027  # nothing to do
        """The connection reached the right machine: where a host has several addresses, try this one first."""

    def renew_key(self, instance: Instance, options: LoginOptions) -> Instance:
        """With a new key if less than half of its lifetime remains, else as it is. Raises ``DeadlinePassed``,
        ``Interrupted``."""
        return instance

    def revoke_keys(self, keys: Sequence[InstalledKey], *, progress: Progress, deadline: Deadline) -> None:  # noqa: B027  # nothing to do
        """Remove installed keys. Raises ``CloudError``, ``DeadlinePassed``."""

    def explain(
        self, instance: Instance, error: RemoteRuntimeError, *, progress: Progress, deadline: Deadline
    ) -> RemoteRuntimeError:
        """``error`` of ``connect`` with its cause; unchanged where no cause is known. Raises ``Interrupted``."""
        return error

    def missing_permissions(
        self, permissions: Sequence[str], *, progress: Progress, deadline: Deadline
    ) -> tuple[str, ...]:
        """Those of ``permissions`` that the credentials lack on the instance. Raises ``CloudError``."""
        return ()

    def set_status(
        self, instance: Instance, action: Literal["stop", "suspend"], *, progress: Progress, deadline: Deadline
    ) -> str:
        """Stop or suspend it; returns its status then. Raises ``CloudError``."""
        return instance.status

    def restore_status(self, instance: Instance, *, progress: Progress, deadline: Deadline) -> str:
        """Return it to the status it had before it was started; returns its status then. Raises ``CloudError``."""
        return instance.status

    def read_instance(self, instance: Instance, *, progress: Progress, deadline: Deadline) -> Instance:
        """The instance as it is now. Raises ``CloudError``."""
        return instance

    def hourly_price(self, instance: Instance, deadline: Deadline) -> HourlyPrice | None:
        """What an hour of the running instance costs; None if that is not known. Raises ``CloudError``."""
        return None

    def stop_demo(self, instance: Instance | None, deadline: Deadline) -> None:  # noqa: B027  # nothing to do
        """End the demo machine; other machines are left alone. Raises ``CloudError``, ``DeadlinePassed``."""
