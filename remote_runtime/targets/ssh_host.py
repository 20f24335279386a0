"""A machine of which only its SSH server is known: a host name, or a Host of ~/.ssh/config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from .. import ssh
from ..core.access import InstalledKey
from ..core.callbacks import Progress, Prompt
from ..core.deadline import Deadline
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Instance
from ..core.profile import Profile, SshSettings, SshTarget
from .base import KeyPolicy, Target, TargetSession

if TYPE_CHECKING:
    from ..state.store import StateDir


@fast_dataclass(frozen=True)
class SshBackend(Target):
    profile: Profile
    state: StateDir
    environ: Mapping[str, str]
    keys: ssh.Keys

    def find(
        self,
        *,
        start: bool,
        progress: Progress,
        deadline: Deadline,
        on_start: Callable[[Instance], None],
        in_background: bool = False,
        restart_preempted: bool = False,
    ) -> Instance:
        return self._resolve(deadline.within(self.profile.timeouts.ssh_s))[0]

    def connect(
        self,
        instance: Instance,
        *,
        prompt: Prompt,
        progress: Progress,
        deadline: Deadline,
        installed_keys: tuple[InstalledKey, ...] = (),
        key_policy: KeyPolicy | None = None,
        respond_within_s: float | None = None,
        reconnect: bool = False,
    ) -> TargetSession:
        return ssh.connect(
            instance,
            self._ssh_settings(deadline),
            pins=self.state.known_hosts,
            keys=self.keys,
            prompt=prompt,
            progress=progress,
            deadline=deadline,
            environ=self.environ,
            connector=self._connector(instance),
            respond_within_s=respond_within_s,
            reconnect=reconnect,
        )

    def confirm_addresses(self) -> None:
        self.keys.addresses.confirm()

    def _ssh_settings(self, deadline: Deadline) -> SshSettings:
        """The profile's, completed by ~/.ssh/config. Raises ``SshError``."""
        return self._resolve(deadline)[1]

    def _connector(self, instance: Instance) -> ssh.Connector | None:
        """Opens the connection to the SSH port; None for an ordinary TCP connection."""
        return None

    def _resolve(self, deadline: Deadline) -> tuple[Instance, SshSettings]:
        target = cast("SshTarget", self.profile.target)
        return ssh.resolve(target, self.profile.ssh, environ=self.environ, deadline=deadline)
