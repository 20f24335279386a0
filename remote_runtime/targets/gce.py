"""A Compute Engine instance: found through the API; reached at its external address, or through IAP."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, TypeVar, cast

from .. import compute, ssh
from ..core.access import InstalledKey
from ..core.callbacks import Progress
from ..core.creation import CloudResource, CreationPlan
from ..core.deadline import Deadline
from ..core.errors import Interrupted, RemoteRuntimeError, from_code
from ..core.model import CreationCheck, CreationResult, Instance
from ..core.move import MovePlan
from ..core.price import HourlyPrice
from ..core.profile import GceTarget, Profile, SshSettings
from .base import CreateOptions, FindOptions, LoginOptions, TargetSession
from .gce_login import GceLogin, login_identity
from .routes import ExternalAndIapFailed, connect_external_or_iap
from .ssh_host import SshBackend

log = logging.getLogger(__name__)
DIAGNOSE_S = 20.0
DIAGNOSABLE_CODES = ("ssh-unreachable", "ssh-refused", "no-usable-key", "iap-backend-unreachable")

# With one of them, packages come from elsewhere.
REGISTRY_VARIABLES = {
    "PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy",
}  # fmt: skip

T = TypeVar("T")


class GceBackend(SshBackend):
    """An SSH host whose address, host keys and accepted keys Compute Engine knows."""

    def find(self, options: FindOptions) -> Instance:
        instance = compute.find(
            self._gce_target(),
            progress=options.progress,
            deadline=options.deadline,
            environ=self._worker_environ(),
            before_start=options.on_start,
            in_background=options.in_background,
            may_start="always" if options.start else "preempted" if options.restart_preempted else "never",
            known_hosts=ssh.known_instances(self.state.known_hosts, self.environ),
            login=login_identity(self._ssh_settings(options.deadline), self.environ),
        )
        return replace(instance, port=self.profile.ssh.port or instance.port)

    def plan_creation(
        self, client_id: str, *, first_zone: str, progress: Progress, deadline: Deadline
    ) -> CreationPlan | None:
        target = self._gce_target()
        if target.create is None:
            return None
        return compute.plan_creation(
            target,
            client_id,
            first_zone=first_zone,
            needs_internet=_needs_internet(self.profile),
            progress=progress,
            deadline=deadline,
            environ=self._worker_environ(),
        )

    def check_creation(self, *, progress: Progress, deadline: Deadline) -> CreationCheck | None:
        target = self._gce_target()
        if target.create is None:
            return None
        return compute.check_creation(
            target,
            needs_internet=_needs_internet(self.profile),
            progress=progress,
            deadline=deadline,
            environ=self._worker_environ(),
        )

    def create(self, plan: CreationPlan, options: CreateOptions) -> CreationResult:
        result = compute.create(
            plan,
            progress=options.progress,
            deadline=options.deadline,
            environ=self._worker_environ(),
            before_insert=options.before_insert,
            after_zone=options.after_zone,
            options=self._ready_options(options.deadline),
        )
        return self._with_port(result)

    def plan_move(
        self, client_id: str, *, delete_old: bool, quota: str, progress: Progress, deadline: Deadline
    ) -> MovePlan:
        return compute.plan_move(
            self._gce_target(),
            client_id,
            delete_old=delete_old,
            quota=quota,
            progress=progress,
            deadline=deadline,
            environ=self._worker_environ(),
        )

    def move(self, plan: MovePlan, options: CreateOptions) -> CreationResult:
        result = compute.move(
            plan,
            progress=options.progress,
            deadline=options.deadline,
            environ=self._worker_environ(),
            before_make=options.before_insert,
            after_zone=options.after_zone,
            after_delete=options.after_delete,
            options=self._ready_options(options.deadline),
        )
        return self._with_port(result)

    def delete_old(self, plan: MovePlan, *, progress: Progress, deadline: Deadline) -> Sequence[str]:
        return compute.delete_old(plan, progress=progress, deadline=deadline, environ=self._worker_environ())

    def _ready_options(self, deadline: Deadline) -> compute.ReadyOptions:
        return compute.ReadyOptions(
            connect=self._gce_target().connect,
            known_hosts=tuple(ssh.known_instances(self.state.known_hosts, self.environ)),
            login=login_identity(self._ssh_settings(deadline), self.environ),
        )

    def _with_port(self, result: CreationResult) -> CreationResult:
        port = self.profile.ssh.port or result.instance.port
        return replace(result, instance=replace(result.instance, port=port))

    def delete_resources(
        self, resources: Sequence[CloudResource], client_id: str, *, progress: Progress, deadline: Deadline
    ) -> Sequence[str]:
        return compute.delete_resources(
            resources, client_id, progress=progress, deadline=deadline, environ=self._worker_environ()
        )

    def find_created(self, client_id: str, *, progress: Progress, deadline: Deadline) -> Instance | None:
        return compute.find_created(
            self._gce_target(), client_id, progress=progress, deadline=deadline, environ=self._worker_environ()
        )

    def connect(self, instance: Instance, options: LoginOptions) -> TargetSession:
        """Falls back to IAP if ``target.connect`` is ``auto`` and the external address does not respond."""

        def connect_to(instance: Instance, respond_within_s: float | None) -> TargetSession:
            limited = replace(options, respond_within_s=respond_within_s)
            if instance.access is None:
                return self._log_in(instance, limited, self._ssh_settings(options.deadline))
            login = self._login(instance, limited)
            return login.connect(instance.access, partial(self._log_in, instance, limited))

        return self._by_route(connect_to, instance, options)

    def open_ssh_port(self, instance: Instance, options: LoginOptions) -> ssh.SshPort:
        def open_at(instance: Instance, respond_within_s: float | None) -> ssh.SshPort:
            return SshBackend.open_ssh_port(self, instance, replace(options, respond_within_s=respond_within_s))

        return self._by_route(open_at, instance, options)

    def _by_route(
        self, connect_to: Callable[[Instance, float | None], T], instance: Instance, options: LoginOptions
    ) -> T:
        may_fall_back = instance.kind == "gce" and instance.via == "external" and self._gce_target().connect == "auto"
        if options.respond_within_s is not None or not may_fall_back:
            return connect_to(instance, options.respond_within_s)
        return connect_external_or_iap(connect_to, instance, options.progress, options.deadline)

    def has_pinned_host_key(self, instance: Instance) -> bool:
        return bool(instance.id) and bool(ssh.pinned_keys(self.state.known_hosts, instance.host_key_name))

    def renew_key(self, instance: Instance, options: LoginOptions) -> Instance:
        if instance.access is None:
            return instance
        return replace(instance, access=self._login(instance, options).renew_key(instance.access))

    def revoke_keys(self, keys: Sequence[InstalledKey], *, progress: Progress, deadline: Deadline) -> None:
        compute.revoke_access(keys, progress=progress, deadline=deadline, environ=self._worker_environ())

    def explain(
        self, instance: Instance, error: RemoteRuntimeError, *, progress: Progress, deadline: Deadline
    ) -> RemoteRuntimeError:
        """The cause that Compute Engine's API shows."""
        if error.code not in DIAGNOSABLE_CODES:
            return error
        progress("Diagnosing through the Compute Engine API")
        try:
            causes = compute.diagnose(
                instance,
                error.code,
                connect="iap" if error.code.startswith("iap-") else instance.via or "external",
                through_iap=error.through_iap if isinstance(error, ExternalAndIapFailed) else None,
                progress=progress,
                deadline=deadline.within(DIAGNOSE_S),
                environ=self._worker_environ(),
            )
        except Interrupted:
            raise
        except (RemoteRuntimeError, RuntimeError, OSError) as failure:
            log.info("no diagnosis of %s: %s", instance.name, failure)
            return error
        if not causes:
            return error
        cause = causes[0]
        what = f"{error.what} ({error.why})" if error.why else error.what
        return from_code(cause.code, what, str(cause), cause.hint)

    def missing_permissions(
        self, permissions: Sequence[str], *, progress: Progress, deadline: Deadline
    ) -> tuple[str, ...]:
        return tuple(
            compute.missing_permissions(
                self._gce_target(), permissions, progress=progress, deadline=deadline, environ=self._worker_environ()
            )
        )

    def set_status(
        self, instance: Instance, action: Literal["stop", "suspend"], *, progress: Progress, deadline: Deadline
    ) -> str:
        return compute.set_status(
            instance, action, progress=progress, deadline=deadline, environ=self._worker_environ()
        )

    def restore_status(self, instance: Instance, *, progress: Progress, deadline: Deadline) -> str:
        return compute.restore_status(instance, progress=progress, deadline=deadline, environ=self._worker_environ())

    def read_instance(self, instance: Instance, *, progress: Progress, deadline: Deadline) -> Instance:
        return compute.reload(instance, progress=progress, deadline=deadline, environ=self._worker_environ())

    def hourly_price(self, instance: Instance, deadline: Deadline) -> HourlyPrice | None:
        environ = self._worker_environ()
        if not compute.has_price_list(environ):
            return None
        return compute.instance_price(
            instance, progress=lambda text: log.info("%s", text), deadline=deadline, environ=environ, in_background=True
        )

    def _gce_target(self) -> GceTarget:
        return cast("GceTarget", self.profile.target)

    def _worker_environ(self) -> Mapping[str, str]:
        """The environment of the process that calls Google's API."""
        return self.environ

    def _ssh_settings(self, deadline: Deadline) -> SshSettings:
        return self.profile.ssh

    def _connector(self, instance: Instance) -> ssh.Connector | None:
        if instance.via != "iap":
            return None
        environ = self._worker_environ()
        return lambda deadline: compute.open_tunnel(instance, environ=environ, deadline=deadline)

    def _login(self, instance: Instance, options: LoginOptions) -> GceLogin:
        settings = self._ssh_settings(options.deadline)
        return GceLogin(instance, options, settings, self.keys, self.environ, self._worker_environ())


def _needs_internet(profile: Profile) -> bool:
    """Whether `up` installs Jupyter from the internet on a machine without it."""
    settings = profile.jupyter
    is_own = (settings.python, settings.install) != ("auto", "auto") or settings.attach is not None
    return not is_own and not settings.env.keys() & REGISTRY_VARIABLES
