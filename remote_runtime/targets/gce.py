"""Which edge serves which kind of target: one place that finds a machine, enters it, and puts it back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Protocol

from .. import compute, ssh
from ..core.access import InstalledKey
from ..core.callbacks import Progress, Prompt, RunCommand
from ..core.deadline import Deadline
from ..core.errors import Interrupted, RemoteRuntimeError, from_code
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Instance, Profile
from ..core.profile import DemoTarget, GceTarget, LocalTarget, SshSettings, SshTarget
from . import either_way, gce_login, local
from .demo import DemoProcess

if TYPE_CHECKING:
    from ..state.store import StateDir
    from ..tunnel.identity import IdentityCheck, Stream
    from ..tunnel.relay import Forwarder

log = logging.getLogger(__name__)
EXPLAIN_S = 20.0
DIAGNOSABLE_CODES = ("ssh-unreachable", "ssh-refused", "no-usable-key", "iap-backend-unreachable")


class TargetSession(Protocol):
    """An entered machine: ``ssh.Session`` or ``local.LocalSession``."""

    @property
    def closed(self) -> bool: ...
    @property
    def why_closed(self) -> str: ...
    @property
    def run(self) -> RunCommand: ...
    @property
    def is_fast(self) -> bool: ...
    @property
    def instance(self) -> Instance | None:
        """The machine as it was reached, which may be in another way than it was found; None for this computer."""

    def login_facts(self) -> Mapping[str, str]:
        """How it was entered, in words: ``host-key`` and ``login``; nothing for this computer."""

    def dial(self, host: str, port: int, *, within_s: float) -> Stream: ...
    def channel_pool(
        self, host: str, port: int, *, identity_check: Callable[[], IdentityCheck] | None, keep_ready: bool
    ) -> Forwarder | None: ...
    def check(self, within_s: float) -> float: ...
    def shell(self, command: str | None) -> int: ...
    def close(self, why: str = ...) -> None: ...


@fast_dataclass(frozen=True)
class Machines:
    """``keys``: keys once unlocked stay so while this object lives."""

    state: StateDir
    environ: Mapping[str, str]
    keys: ssh.Keys

    def find(
        self,
        profile: Profile,
        *,
        start: bool,
        progress: Progress,
        deadline: Deadline,
        on_start: Callable[[Instance], None],
        in_background: bool = False,
        restart_preempted: bool = False,
    ) -> Instance:
        """The profile's machine, running. ``started`` is told before a start is asked for. ``revive``: without
        ``start`` too, a VM that Compute Engine preempted is started again. ``in_background``: what others do here goes
        first. Raises ``CloudError``, or ``SshError`` for an ssh host whose configuration cannot be used."""
        target = profile.target
        if isinstance(target, LocalTarget):
            return Instance("local", "this machine")
        if isinstance(target, SshTarget):
            within = deadline.within(profile.timeouts.ssh_s)
            return ssh.resolve(target, profile.ssh, environ=self.environ, deadline=within)[0]
        if isinstance(target, DemoTarget):
            self._demo(profile).ensure(progress, deadline, self.environ)
            target = self._demo_target(profile)
        settings = self.ssh_settings(profile)
        found = compute.find(
            target,
            progress=progress,
            deadline=deadline,
            environ=self._cloud_environ(profile),
            before_start=on_start,
            in_background=in_background,
            may_start="always" if start else "preempted" if restart_preempted else "never",
            known_hosts=ssh.known_instances(self.state.known_hosts, self.environ),
            login=gce_login.login_identity(settings, self.environ),
        )
        if isinstance(profile.target, DemoTarget):
            return replace(found, kind="demo", port=self._demo(profile).description()["ssh_port"])
        return replace(found, port=profile.ssh.port or found.port)

    def connect(
        self,
        profile: Profile,
        instance: Instance,
        *,
        prompt: Prompt,
        progress: Progress,
        deadline: Deadline,
        installed_keys: tuple[InstalledKey, ...] = (),
        key_policy: gce_login.KeyPolicy | None = None,
    ) -> TargetSession:
        """Enter it; through IAP, if ``target.connect`` is ``auto`` and its external address does not answer.
        ``added``: the keys that we put there before. ``wish``: whether one may be put there now; None: no.

        Raises ``SshError``, and ``CloudError``: ``no-credentials`` on the way through IAP, or for a key that cannot be
        put there.
        """
        if isinstance(profile.target, LocalTarget):
            return local.LocalSession(local.search_path(self.environ))

        looking = key_policy or gce_login.no_install()

        def enter(at: Instance, answers_within_s: float | None) -> TargetSession:
            if at.access is not None:
                ring = self._login_options(profile, at, installed_keys)
                ring = replace(ring, respond_within_s=answers_within_s, reconnect=looking.reconnect)
                return gce_login.connect(at, ring, looking, prompt=prompt, progress=progress, deadline=deadline)
            return ssh.connect(
                at,
                self.ssh_settings(profile, deadline),
                pins=self.state.known_hosts,
                keys=self.keys,
                prompt=prompt,
                progress=progress,
                deadline=deadline,
                environ=self.environ,
                connector=self.connector(profile, at),
                respond_within_s=answers_within_s,
                reconnect=looking.reconnect,
            )

        if looking.respond_within_s is not None or not either_way.may_fall_back_to_iap(profile, instance):
            return enter(instance, looking.respond_within_s)
        return either_way.connect(enter, instance, progress, deadline)

    def confirm_addresses(self) -> None:
        """The machines that were reached last are the right ones: of several addresses, theirs is tried first."""
        self.keys.addresses.confirm()

    def connector(self, profile: Profile, instance: Instance) -> ssh.Connector | None:
        """What connects to its SSH port; None where an ordinary connection does."""
        if instance.via != "iap":
            return None
        environ = self._cloud_environ(profile)
        return lambda deadline: compute.open_tunnel(instance, environ=environ, deadline=deadline)

    def renew_key(
        self,
        profile: Profile,
        instance: Instance,
        *,
        progress: Progress,
        deadline: Deadline,
        installed_keys: tuple[InstalledKey, ...],
        key_policy: gce_login.KeyPolicy,
    ) -> Instance:
        """With a key of ours that has lived less than half of its life. Raises ``DeadlinePassed``, ``Interrupted``."""
        if instance.access is None:
            return instance
        ring = self._login_options(profile, instance, installed_keys)
        return replace(
            instance, access=gce_login.renew_key(instance, instance.access, ring, key_policy, progress, deadline)
        )

    def revoke_keys(
        self, profile: Profile, keys: Sequence[InstalledKey], *, progress: Progress, deadline: Deadline
    ) -> None:
        """Take the keys away that were put there. Raises ``CloudError``, ``DeadlinePassed``."""
        compute.revoke_access(keys, progress=progress, deadline=deadline, environ=self._cloud_environ(profile))

    def explain(
        self, profile: Profile, instance: Instance, error: RemoteRuntimeError, *, progress: Progress, deadline: Deadline
    ) -> RemoteRuntimeError:
        """``error`` of ``connect``, with the cause that Compute Engine knows of; as it is where there is none, or where
        asking fails. Raises ``Interrupted``."""
        target = profile.target
        if not isinstance(target, (GceTarget, DemoTarget)) or error.code not in DIAGNOSABLE_CODES:
            return error
        progress("Asking Compute Engine why")
        connect = instance.via or "external"
        through_iap = error.through_iap if isinstance(error, either_way.ExternalAndIapFailed) else None
        try:
            causes = compute.diagnose(
                instance,
                error,
                connect="iap" if error.code.startswith("iap-") else connect,
                through_iap=through_iap,
                progress=progress,
                deadline=deadline.within(EXPLAIN_S),
                environ=self._cloud_environ(profile),
            )
        except Interrupted:
            raise
        except (RemoteRuntimeError, RuntimeError, OSError) as failure:
            log.info("why %s cannot be entered is not known: %s", instance.name, failure)
            return error
        if not causes:
            return error
        cause = causes[0]
        what = f"{error.what} ({error.why})" if error.why else error.what
        return from_code(cause.code, what, str(cause), cause.hint)

    def missing_permissions(
        self, profile: Profile, permissions: Sequence[str], *, progress: Progress, deadline: Deadline
    ) -> tuple[str, ...]:
        """Those of ``wanted`` that the credentials lack on the profile's instance. Raises ``CloudError``."""
        if not isinstance(profile.target, GceTarget):
            return ()
        environ = self._cloud_environ(profile)
        return compute.missing_permissions(
            profile.target, permissions, progress=progress, deadline=deadline, environ=environ
        )

    def ssh_settings(self, profile: Profile, deadline: Deadline | None = None) -> SshSettings:
        """What the profile says, completed by ~/.ssh/config or by the demo machine. Raises ``SshError``."""
        if isinstance(profile.target, SshTarget):
            within = deadline or Deadline(profile.timeouts.ssh_s)
            return ssh.resolve(profile.target, profile.ssh, environ=self.environ, deadline=within)[1]
        if isinstance(profile.target, DemoTarget):
            demo = self._demo(profile).description()
            return replace(profile.ssh, user=demo["user"], identity_file=demo["identity_file"], identities_only=True)
        return profile.ssh

    def set_status(
        self,
        profile: Profile,
        instance: Instance,
        action: Literal["stop", "suspend"],
        *,
        progress: Progress,
        deadline: Deadline,
    ) -> str:
        """Stop or suspend it; the status it ends with. Raises ``CloudError``."""
        environ = self._cloud_environ(profile)
        return compute.set_status(instance, action, progress=progress, deadline=deadline, environ=environ)

    def read_instance(
        self, profile: Profile, instance: Instance, *, progress: Progress, deadline: Deadline
    ) -> Instance:
        """The instance as it is now. Raises ``CloudError``."""
        return compute.reload(instance, progress=progress, deadline=deadline, environ=self._cloud_environ(profile))

    def restore_status(self, profile: Profile, instance: Instance, *, progress: Progress, deadline: Deadline) -> str:
        """Into the state it had before we started it; its status then. Raises ``CloudError``."""
        return compute.restore_status(
            instance, progress=progress, deadline=deadline, environ=self._cloud_environ(profile)
        )

    def exists(self, profile: Profile) -> bool:
        """False only for a demo machine that is not running: nothing of ours can be left on it."""
        return not isinstance(profile.target, DemoTarget) or self._demo(profile).is_running()

    def stop_demo(self, profile: Profile, instance: Instance | None, deadline: Deadline) -> None:
        """End the demo machine; all others are not ours to end. Raises ``CloudError`` or ``DeadlinePassed``."""
        if not isinstance(profile.target, DemoTarget):
            return
        if instance is not None:
            ssh.unpin(self.state.known_hosts, instance.host_key_name)
        self._demo(profile).stop(deadline)

    def _login_options(
        self, profile: Profile, at: Instance, installed_keys: tuple[InstalledKey, ...]
    ) -> gce_login.LoginOptions:
        cloud, settings, lifetime_s = (
            self._cloud_environ(profile),
            self.ssh_settings(profile),
            profile.ssh.key_lifetime_s,
        )
        reach = self.connector(profile, at)
        return gce_login.LoginOptions(
            self.state.known_hosts, self.keys, self.environ, cloud, settings, lifetime_s, reach, installed_keys
        )

    def _cloud_environ(self, profile: Profile) -> Mapping[str, str]:
        if not isinstance(profile.target, DemoTarget):
            return self.environ
        demo = self._demo(profile).description()
        return {
            **self.environ,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": demo["endpoint"],
            "REMOTE_RUNTIME_IAP_URL": demo["iap_url"],
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_OSLOGIN": demo["os_login_endpoint"],
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        }

    def _demo(self, profile: Profile) -> DemoProcess:
        return DemoProcess(
            self.state.file_path(profile.name, "machine"), profile.name, external_address=_has_external(profile)
        )

    def _demo_target(self, profile: Profile) -> GceTarget:
        facts = self._demo(profile).description()
        return GceTarget(instance=facts["instance"], project=facts["project"], zone=facts["zone"])


def _has_external(profile: Profile) -> bool:
    return not isinstance(profile.target, DemoTarget) or profile.target.external_address
