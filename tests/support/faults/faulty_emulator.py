"""A Compute Engine emulator that fails on demand, and in which others change the instances too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType

from remote_runtime.demo.gcp_api.api_errors import act_as_forbidden
from remote_runtime.demo.gcp_api.emulator import ComputeEmulator
from remote_runtime.demo.gcp_api.faults import Fault, OperationFault, RequestFault
from remote_runtime.demo.gcp_api.instance import EmulatedInstance
from remote_runtime.demo.gcp_api.operations import Operation, timestamp
from remote_runtime.demo.gcp_api.state import Cloud, GuestFactory
from remote_runtime.demo.gcp_api.values import Delays, Json, Vm

__all__ = ["FaultyCloud", "FaultyEmulator", "OperationFault", "RequestFault"]

ACT_AS = "iam.serviceAccounts.actAs"


class FaultyCloud(Cloud):
    """To be set at any time:

    - ``fail_next["start"] = OperationFault("QUOTA_EXCEEDED")``: the next start fails, in its operation.
    - ``refusals["stop"] = RequestFault(400, "invalid", "…")``: each stop is answered so, until that is deleted; in the
      same way ``refusals["disks.insert"]``, and ``fail_next["disks.insert"]``.
    - ``forbidden_permissions.add("compute.instances.start")``: 403 for what needs it.
    - ``preempt_after_s = 0.5``: each Spot VM is preempted so long after it runs.
    - ``lost_races = 2``: in the next two ``setMetadata`` another writer was quicker (412).
    """

    def __init__(
        self,
        vms: Iterable[Vm],
        project_metadata: Mapping[str, Mapping[str, str]],
        delays: Delays,
        guest_factory: GuestFactory | None = None,
    ) -> None:
        self.fail_next: dict[str, OperationFault] = {}
        self.refusals: dict[str, RequestFault] = {}
        self.forbidden_permissions: set[str] = set()
        self.lost_races = 0
        self.preempt_after_s: float | None = None
        super().__init__(vms, project_metadata, delays, guest_factory)

    def permits(self, permission: str) -> bool:
        return permission not in self.forbidden_permissions

    def admit(self, method_id: str) -> None:
        refusal = self.refusals.get(method_id.removeprefix("instances."))
        if refusal is not None:
            raise refusal.as_error()

    def fault(self, verb: str, instance: EmulatedInstance | None = None) -> Fault | None:
        return self.fail_next.pop(verb, None) or super().fault(verb, instance)

    def on_start(self, instance: EmulatedInstance) -> None:
        super().on_start(instance)
        if instance.vm.spot and self.preempt_after_s is not None:
            self.preempt(instance.vm.name, self.preempt_after_s)

    def set_metadata(self, instance: EmulatedInstance, metadata: Mapping[str, str], fingerprint: str) -> Operation:
        account = instance.vm.service_account
        if account and not self.permits(ACT_AS):
            raise act_as_forbidden(account)
        with self.changed:
            if self.lost_races > 0:
                self.lost_races -= 1
                instance.metadata["written-meanwhile"] = timestamp()
            return super().set_metadata(instance, metadata, fingerprint)

    def set_status(self, name: str, status: str, after_s: float = 0.0) -> None:
        """Somebody else changes the status (maintenance, a colleague); the guest takes no part."""
        instance = self._named(name)
        self._later(after_s, lambda: self._power.set_status(instance, status))

    def preempt(self, name: str, after_s: float = 0.0) -> None:
        """Compute Engine takes a Spot VM back: a system operation, and the instance stops or is deleted."""
        instance = self._named(name)

        def preempt() -> None:
            with self.changed:
                self._lifetimes.end(instance, "compute.instances.preempted")

        self._later(after_s, preempt)

    def end_max_run(self, name: str) -> None:
        """``maxRunDuration`` of the instance is over now."""
        with self.changed:
            self._lifetimes.end(self._named(name))

    def _named(self, name: str) -> EmulatedInstance:
        with self.changed:
            return next(instance for instance in self.instances if instance.vm.name == name)

    def _later(self, after_s: float, action: Callable[[], None]) -> None:
        def wait() -> None:
            if self._threads.sleep(after_s):
                action()

        if after_s:
            self._threads.spawn(wait)
        else:
            action()


class FaultyEmulator(ComputeEmulator):
    """``cloud`` has more switches. To be set at any time:

    - ``fail_requests.append(RequestFault(503))``: the next request, whatever it asks, is answered so.
    - ``latency_s = 0.5``: every answer comes so much later.
    """

    cloud: FaultyCloud

    def __init__(
        self,
        instances: Iterable[Vm] = (),
        *,
        project_metadata: Mapping[str, Mapping[str, str]] | None = None,
        delays: Delays | None = None,
        prefix: str | None = None,
        guest_factory: GuestFactory | None = None,
    ) -> None:
        self.fail_requests: list[RequestFault] = []
        self.latency_s = 0.0
        self._closed = threading.Event()
        super().__init__(
            instances, project_metadata=project_metadata, delays=delays, prefix=prefix, guest_factory=guest_factory
        )
        self.forbidden_permissions = self.cloud.forbidden_permissions

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed.set()
        super().__exit__(kind, error, traceback)

    def make_cloud(
        self,
        instances: Iterable[Vm],
        project_metadata: Mapping[str, Mapping[str, str]],
        delays: Delays,
        guest_factory: GuestFactory | None,
    ) -> Cloud:
        return FaultyCloud(instances, project_metadata, delays, guest_factory)

    def find_method(
        self, http_method: str, path: str, query: Mapping[str, str], body: Json | None
    ) -> tuple[str, Callable[[], Json]]:
        self._closed.wait(self.latency_s)
        if self.fail_requests:
            raise self.fail_requests.pop(0).as_error()
        return super().find_method(http_method, path, query, body)
