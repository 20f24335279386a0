"""A Compute Engine emulator that fails on demand, and in which others change the instances too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType

from remote_runtime.demo.gcp_api.api_errors import ApiError
from remote_runtime.demo.gcp_api.emulator import ComputeEmulator
from remote_runtime.demo.gcp_api.instance import EmulatedInstance
from remote_runtime.demo.gcp_api.operations import Operation, timestamp
from remote_runtime.demo.gcp_api.power import CHANGES, StatusChange
from remote_runtime.demo.gcp_api.state import USER, Cloud
from remote_runtime.demo.gcp_api.values import Delays, Json, Vm

ACT_AS = "iam.serviceAccounts.actAs"
# code → (HTTP status, HTTP message, sentence)
_OPERATION_ERRORS = {
    "ZONE_RESOURCE_POOL_EXHAUSTED": (
        503,
        "SERVICE UNAVAILABLE",
        "The zone 'projects/{project}/zones/{zone}' does not have enough resources available to fulfill the request. "
        "Try a different zone, or try again later.",
    ),
    "QUOTA_EXCEEDED": (403, "FORBIDDEN", "Quota 'NVIDIA_L4_GPUS' exceeded.  Limit: 1.0 in region {region}."),
}


@dataclass(frozen=True)
class OperationFault:
    """The error of an operation, e.g. ``ZONE_RESOURCE_POOL_EXHAUSTED`` or ``QUOTA_EXCEEDED``.

    An empty ``message`` gives Google's usual sentence for these two.
    """

    code: str
    message: str = ""


@dataclass(frozen=True)
class RequestFault:
    """The error that a request is answered with: an HTTP status and Google's reason (``backendError``)."""

    status: int
    reason: str = "backendError"
    message: str = "The service is currently unavailable."


class FailedOperation(Operation):
    """``fault`` is set before it starts."""

    fault: OperationFault

    def as_json(self) -> Json:
        answer = super().as_json()
        if self.status != "DONE":
            return answer
        status, phrase, sentence = _OPERATION_ERRORS.get(self.fault.code, (400, "BAD REQUEST", self.fault.code))
        region = self.zone.rpartition("-")[0]
        message = self.fault.message or sentence.format(project=self.project, zone=self.zone, region=region)
        return answer | {
            "error": {"errors": [{"code": self.fault.code, "message": message}]},
            "httpErrorStatusCode": status,
            "httpErrorMessage": phrase,
        }


class FaultyCloud(Cloud):
    """To be set at any time:

    - ``fail_next["start"] = OperationFault("QUOTA_EXCEEDED")``: the next start fails, in its operation.
    - ``refusals["stop"] = RequestFault(400, "invalid", "…")``: each stop is answered so, until that is deleted.
    - ``forbidden_permissions.add("compute.instances.start")``: 403 for what needs it.
    - ``lost_races = 2``: in the next two ``setMetadata`` another writer was quicker (412).
    """

    def __init__(self, vms: Iterable[Vm], project_metadata: Mapping[str, Mapping[str, str]], delays: Delays) -> None:
        self.fail_next: dict[str, OperationFault] = {}
        self.refusals: dict[str, RequestFault] = {}
        self.forbidden_permissions: set[str] = set()
        self.lost_races = 0
        super().__init__(vms, project_metadata, delays)

    def permits(self, permission: str) -> bool:
        return permission not in self.forbidden_permissions

    def change(self, verb: str, instance: EmulatedInstance) -> Operation:
        with self.changed:
            if refusal := self.refusals.get(verb):
                raise ApiError(refusal.status, refusal.reason, refusal.message)
            fault = self.fail_next.pop(verb, None)
            if fault is None:
                return super().change(verb, instance)
            change = CHANGES[verb]
            change.check(instance)
            vm = instance.vm
            operation = FailedOperation(verb, vm.project, vm.zone, instance.resource, instance.id, USER)
            operation.fault = fault
            self._operations.append(operation)
            before = instance.status
            self._power.set_status(instance, change.transitional[0])
            self._threads.spawn(lambda: self._fail(change, instance, operation, before))
            return operation

    def set_metadata(self, instance: EmulatedInstance, metadata: Mapping[str, str], fingerprint: str) -> Operation:
        account = instance.vm.service_account
        if account and not self.permits(ACT_AS):
            raise ApiError(
                403,
                "forbidden",
                f"The user does not have access to service account '{account}'.  User: 'demo@example.com'.  Ask a "
                "project owner to grant you the iam.serviceAccountUser role on the service account",
            )
        with self.changed:
            if self.lost_races > 0:
                self.lost_races -= 1
                instance.metadata["written-meanwhile"] = timestamp()
            return super().set_metadata(instance, metadata, fingerprint)

    def set_status(self, name: str, status: str, after_s: float = 0.0) -> None:
        """Somebody else changes the status (maintenance, a colleague); the guest takes no part."""
        instance = self._named(name)

        def change() -> None:
            if self._threads.sleep(after_s):
                self._power.set_status(instance, status)

        if after_s:
            self._threads.spawn(change)
        else:
            self._power.set_status(instance, status)

    def preempt(self, name: str) -> None:
        """Compute Engine takes a Spot VM back: a system operation, and the instance stops."""
        instance = self._named(name)
        with self.changed:
            operation = self._new_operation("compute.instances.preempted", instance, user="system")
            self._power.start_change(CHANGES["stop"], instance, operation)

    def _named(self, name: str) -> EmulatedInstance:
        with self.changed:
            return next(instance for instance in self.instances if instance.vm.name == name)

    def _fail(self, change: StatusChange, instance: EmulatedInstance, operation: Operation, before: str) -> None:
        if self._threads.sleep(self.delays.queue_s):
            operation.start()
            self._threads.sleep((self.delays.start_s if change.final == "RUNNING" else self.delays.stop_s) / 2)
            self._power.set_status(instance, before)
            self._power.finish(operation)


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
    ) -> None:
        self.fail_requests: list[RequestFault] = []
        self.latency_s = 0.0
        self._closed = threading.Event()
        super().__init__(instances, project_metadata=project_metadata, delays=delays, prefix=prefix)
        self.forbidden_permissions = self.cloud.forbidden_permissions

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed.set()
        super().__exit__(kind, error, traceback)

    def make_cloud(
        self, instances: Iterable[Vm], project_metadata: Mapping[str, Mapping[str, str]], delays: Delays
    ) -> Cloud:
        return FaultyCloud(instances, project_metadata, delays)

    def find_method(
        self, http_method: str, path: str, query: Mapping[str, str], body: Json | None
    ) -> tuple[str, Callable[[], Json]]:
        self._closed.wait(self.latency_s)
        if self.fail_requests:
            fault = self.fail_requests.pop(0)
            raise ApiError(fault.status, fault.reason, fault.message)
        return super().find_method(http_method, path, query, body)
