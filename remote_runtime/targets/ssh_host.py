"""A machine of which only its SSH server is known: a host name, or a Host of ~/.ssh/config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from .. import ssh
from ..core.deadline import Deadline
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Instance
from ..core.profile import Profile, SshSettings, SshTarget
from .base import FindOptions, LoginOptions, Target, TargetSession

if TYPE_CHECKING:
    from ..ssh import Session, SshPort
    from ..state.store import StateDir


@fast_dataclass(frozen=True)
class SshBackend(Target):
    profile: Profile
    state: StateDir
    environ: Mapping[str, str]
    keys: ssh.Keys

    def find(self, options: FindOptions) -> Instance:
        return self._resolve(options.deadline.within(self.profile.timeouts.ssh_s))[0]

    def connect(self, instance: Instance, options: LoginOptions) -> TargetSession:
        return self._log_in(instance, options, self._ssh_settings(options.deadline))

    def ssh_settings(self, instance: Instance, deadline: Deadline) -> SshSettings:
        settings = self._ssh_settings(deadline)
        return replace(settings, user=instance.access.user) if instance.access and instance.access.user else settings

    def open_ssh_port(self, instance: Instance, options: LoginOptions) -> SshPort:
        return ssh.open_ssh_port(self._request(instance, options, self._ssh_settings(options.deadline)))

    def confirm_addresses(self) -> None:
        self.keys.addresses.confirm()

    def _ssh_settings(self, deadline: Deadline) -> SshSettings:
        """The profile's, completed by ~/.ssh/config. Raises ``SshError``."""
        return self._resolve(deadline)[1]

    def _connector(self, instance: Instance) -> ssh.Connector | None:
        """Opens the connection to the SSH port; None for an ordinary TCP connection."""
        return None

    def _log_in(
        self,
        instance: Instance,
        options: LoginOptions,
        settings: SshSettings,
        *,
        accepted_keys: Sequence[str] = (),
        key_just_added: bool = False,
        keep_trying_s: float | None = None,
    ) -> Session:
        request = replace(self._request(instance, options, settings), accepted_keys=tuple(accepted_keys))
        return ssh.connect(request, key_just_added=key_just_added, keep_trying_s=keep_trying_s)

    def _request(self, instance: Instance, options: LoginOptions, settings: SshSettings) -> ssh.ConnectRequest:
        deadline, respond_within_s = options.deadline, options.respond_within_s
        return ssh.ConnectRequest(
            instance,
            settings,
            deadline,
            pins=self.state.known_hosts,
            keys=self.keys,
            prompt=options.prompt,
            progress=options.progress,
            environ=self.environ,
            respond_by=deadline if respond_within_s is None else deadline.within(respond_within_s),
            connector=self._connector(instance),
            reconnect=options.reconnect,
        )

    def _resolve(self, deadline: Deadline) -> tuple[Instance, SshSettings]:
        target = cast("SshTarget", self.profile.target)
        return ssh.resolve(target, self.profile.ssh, environ=self.environ, deadline=deadline)
