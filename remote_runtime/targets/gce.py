"""Which edge serves which kind of target: one place that finds a machine, enters it, and puts it back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Protocol

from .. import compute, ssh
from ..core.access import AddedKey
from ..core.callbacks import Ask, Run, Tell
from ..core.deadline import Deadline
from ..core.errors import Interrupted, RemoteRuntimeError, from_code
from ..core.frozen import dataclass
from ..core.model import Instance, Profile
from ..core.profile import DemoTarget, GceTarget, LocalTarget, SshSettings, SshTarget
from . import either_way, gce_login, local
from .demo import Embedded

if TYPE_CHECKING:
    from ..state.store import StateDir
    from ..tunnel.identity import Proof, Stream
    from ..tunnel.relay import Lane

log = logging.getLogger(__name__)
EXPLAIN_S = 20.0
EXPLAINED = ("ssh-unreachable", "ssh-refused", "no-usable-key", "iap-backend-unreachable")


class Session(Protocol):
    """An entered machine: ``ssh.Session`` or ``local.LocalSession``."""

    @property
    def closed(self) -> bool: ...
    @property
    def why_closed(self) -> str: ...
    @property
    def run(self) -> Run: ...
    @property
    def is_fast(self) -> bool: ...
    @property
    def instance(self) -> Instance | None:
        """The machine as it was reached, which may be in another way than it was found; None for this computer."""

    def seen(self) -> Mapping[str, str]:
        """How it was entered, in words: ``host-key`` and ``login``; nothing for this computer."""

    def dial(self, host: str, port: int, *, within_s: float) -> Stream: ...
    def lane(self, host: str, port: int, *, prove: Callable[[], Proof] | None, keep_ready: bool) -> Lane | None: ...
    def check(self, within_s: float) -> float: ...
    def shell(self, command: str | None) -> int: ...
    def close(self, why: str = ...) -> None: ...


@dataclass(frozen=True)
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
        tell: Tell,
        deadline: Deadline,
        started: Callable[[Instance], None],
        in_background: bool = False,
        revive: bool = False,
    ) -> Instance:
        """The profile's machine, running. ``started`` is told before a start is asked for. ``revive``: without
        ``start`` too, a VM that Compute Engine preempted is started again. ``in_background``: what others do here goes
        first. Raises ``CloudError``, or ``SshError`` for an ssh host whose configuration cannot be used."""
        target = profile.target
        if isinstance(target, LocalTarget):
            return Instance("local", "this machine")
        if isinstance(target, SshTarget):
            within = deadline.shorter(profile.timeouts.ssh_s)
            return ssh.resolve(target, profile.ssh, environ=self.environ, deadline=within)[0]
        if isinstance(target, DemoTarget):
            self._demo(profile).ensure(tell, deadline, self.environ)
            target = self._demo_target(profile)
        settings = self.ssh_settings(profile)
        found = compute.find(
            target,
            tell=tell,
            deadline=deadline,
            environ=self._cloud_environ(profile),
            started=started,
            in_background=in_background,
            may_start="always" if start else "preempted" if revive else "never",
            known=ssh.known_instances(self.state.pins, self.environ),
            who=gce_login.who_wants_in(settings, self.environ),
        )
        if isinstance(profile.target, DemoTarget):
            return replace(found, kind="demo", port=self._demo(profile).facts()["ssh_port"])
        return replace(found, port=profile.ssh.port or found.port)

    def connect(
        self,
        profile: Profile,
        instance: Instance,
        *,
        ask: Ask,
        tell: Tell,
        deadline: Deadline,
        added: tuple[AddedKey, ...] = (),
        wish: gce_login.Wish | None = None,
    ) -> Session:
        """Enter it; through IAP, if ``target.connect`` is ``auto`` and its external address does not answer.
        ``added``: the keys that we put there before. ``wish``: whether one may be put there now; None: no.

        Raises ``SshError``, and ``CloudError``: ``no-credentials`` on the way through IAP, or for a key that cannot be
        put there.
        """
        if isinstance(profile.target, LocalTarget):
            return local.LocalSession(local.search_path(self.environ))

        looking = wish or gce_login.no_wish()

        def enter(at: Instance, answers_within_s: float | None) -> Session:
            if at.access is not None:
                ring = self._ring(profile, at, added)
                ring = replace(ring, answers_within_s=answers_within_s, reconnect=looking.reconnect)
                return gce_login.enter(at, ring, looking, ask=ask, tell=tell, deadline=deadline)
            return ssh.connect(
                at,
                self.ssh_settings(profile, deadline),
                pins=self.state.pins,
                keys=self.keys,
                ask=ask,
                tell=tell,
                deadline=deadline,
                environ=self.environ,
                reach=self.reach(profile, at),
                answers_within_s=answers_within_s,
                reconnect=looking.reconnect,
            )

        if looking.answers_within_s is not None or not either_way.is_allowed(profile, instance):
            return enter(instance, looking.answers_within_s)
        return either_way.enter(enter, instance, tell, deadline)

    def settle(self) -> None:
        """The machines that were reached last are the right ones: of several addresses, theirs is tried first."""
        self.keys.reached.settle()

    def reach(self, profile: Profile, instance: Instance) -> ssh.Reach | None:
        """What connects to its SSH port; None where an ordinary connection does."""
        if instance.via != "iap":
            return None
        environ = self._cloud_environ(profile)
        return lambda deadline: compute.open_passage(instance, environ=environ, deadline=deadline)

    def renew(
        self,
        profile: Profile,
        instance: Instance,
        *,
        tell: Tell,
        deadline: Deadline,
        added: tuple[AddedKey, ...],
        wish: gce_login.Wish,
    ) -> Instance:
        """With a key of ours that has lived less than half of its life. Raises ``DeadlinePassed``, ``Interrupted``."""
        if instance.access is None:
            return instance
        ring = self._ring(profile, instance, added)
        return replace(instance, access=gce_login.renew(instance, instance.access, ring, wish, tell, deadline))

    def withdraw(self, profile: Profile, added: Sequence[AddedKey], *, tell: Tell, deadline: Deadline) -> None:
        """Take the keys away that were put there. Raises ``CloudError``, ``DeadlinePassed``."""
        compute.withdraw(added, tell=tell, deadline=deadline, environ=self._cloud_environ(profile))

    def explain(
        self, profile: Profile, instance: Instance, error: RemoteRuntimeError, *, tell: Tell, deadline: Deadline
    ) -> RemoteRuntimeError:
        """``error`` of ``connect``, with the cause that Compute Engine knows of; as it is where there is none, or where
        asking fails. Raises ``Interrupted``."""
        target = profile.target
        if not isinstance(target, (GceTarget, DemoTarget)) or error.code not in EXPLAINED:
            return error
        tell("Asking Compute Engine why")
        connect = instance.via or "external"
        through_iap = error.through_iap if isinstance(error, either_way.NeitherWay) else None
        try:
            causes = compute.diagnose(
                instance,
                error,
                connect="iap" if error.code.startswith("iap-") else connect,
                through_iap=through_iap,
                tell=tell,
                deadline=deadline.shorter(EXPLAIN_S),
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
        self, profile: Profile, wanted: Sequence[str], *, tell: Tell, deadline: Deadline
    ) -> tuple[str, ...]:
        """Those of ``wanted`` that the credentials lack on the profile's instance. Raises ``CloudError``."""
        if not isinstance(profile.target, GceTarget):
            return ()
        environ = self._cloud_environ(profile)
        return compute.missing_permissions(profile.target, wanted, tell=tell, deadline=deadline, environ=environ)

    def ssh_settings(self, profile: Profile, deadline: Deadline | None = None) -> SshSettings:
        """What the profile says, completed by ~/.ssh/config or by the demo machine. Raises ``SshError``."""
        if isinstance(profile.target, SshTarget):
            within = deadline or Deadline(profile.timeouts.ssh_s)
            return ssh.resolve(profile.target, profile.ssh, environ=self.environ, deadline=within)[1]
        if isinstance(profile.target, DemoTarget):
            demo = self._demo(profile).facts()
            return replace(profile.ssh, user=demo["user"], identity_file=demo["identity_file"], identities_only=True)
        return profile.ssh

    def change(
        self,
        profile: Profile,
        instance: Instance,
        action: Literal["stop", "suspend"],
        *,
        tell: Tell,
        deadline: Deadline,
    ) -> str:
        """Stop or suspend it; the status it ends with. Raises ``CloudError``."""
        environ = self._cloud_environ(profile)
        return compute.change(instance, action, tell=tell, deadline=deadline, environ=environ)

    def read(self, profile: Profile, instance: Instance, *, tell: Tell, deadline: Deadline) -> Instance:
        """The instance as it is now. Raises ``CloudError``."""
        return compute.read(instance, tell=tell, deadline=deadline, environ=self._cloud_environ(profile))

    def put_back(self, profile: Profile, instance: Instance, *, tell: Tell, deadline: Deadline) -> str:
        """Into the state it had before we started it; its status then. Raises ``CloudError``."""
        return compute.put_back(instance, tell=tell, deadline=deadline, environ=self._cloud_environ(profile))

    def is_there(self, profile: Profile) -> bool:
        """False only for a demo machine that is not running: nothing of ours can be left on it."""
        return not isinstance(profile.target, DemoTarget) or self._demo(profile).lives()

    def release(self, profile: Profile, instance: Instance | None, deadline: Deadline) -> None:
        """End the demo machine; all others are not ours to end. Raises ``CloudError`` or ``DeadlinePassed``."""
        if not isinstance(profile.target, DemoTarget):
            return
        if instance is not None:
            ssh.forget_pins(self.state.pins, instance.host_key_name)
        self._demo(profile).end(deadline)

    def _ring(self, profile: Profile, at: Instance, added: tuple[AddedKey, ...]) -> gce_login.Keyring:
        cloud, settings, lifetime_s = (
            self._cloud_environ(profile),
            self.ssh_settings(profile),
            profile.ssh.key_lifetime_s,
        )
        reach = self.reach(profile, at)
        return gce_login.Keyring(self.state.pins, self.keys, self.environ, cloud, settings, lifetime_s, reach, added)

    def _cloud_environ(self, profile: Profile) -> Mapping[str, str]:
        if not isinstance(profile.target, DemoTarget):
            return self.environ
        demo = self._demo(profile).facts()
        return {
            **self.environ,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": demo["endpoint"],
            "REMOTE_RUNTIME_IAP_URL": demo["iap_url"],
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_OSLOGIN": demo["os_login_endpoint"],
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        }

    def _demo(self, profile: Profile) -> Embedded:
        return Embedded(self.state.of(profile.name, "machine"), profile.name, external_address=_has_external(profile))

    def _demo_target(self, profile: Profile) -> GceTarget:
        facts = self._demo(profile).facts()
        return GceTarget(instance=facts["instance"], project=facts["project"], zone=facts["zone"])


def _has_external(profile: Profile) -> bool:
    return not isinstance(profile.target, DemoTarget) or profile.target.external_address
