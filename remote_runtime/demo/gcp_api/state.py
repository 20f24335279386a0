"""The state of the emulated projects: instances, disks, operations, firewall rules."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from . import quotas
from .api_errors import not_found, stale_fingerprint
from .conditions import Conditions
from .disks import EmulatedDisk, EmulatedSnapshot
from .faults import Fault, OperationFault, RequestFault, no_capacity
from .guest_agent import authorized_keys
from .instance import EmulatedInstance, default_parts, metadata_as_json, metadata_fingerprint
from .lifetimes import Lifetimes
from .networks import default_resources
from .operations import Operation
from .os_login import OsLogin
from .power import CHANGES, Power, WorkerThreads
from .values import Delays, Json, Vm

PROJECT_ID = "4503599627370497123"
DEFAULT_SERVICE_ACCOUNT = f"{PROJECT_ID}-compute@developer.gserviceaccount.com"
AGENT_POLL_S = 30.0
USER = "demo@example.com"
GuestFactory = Callable[[Vm], Vm]


class Cloud(Conditions):
    """Everything is guarded by ``changed``, which is notified at each change. ``close`` ends all work in progress.

    ``networks``: project → collection (``firewalls``, ``routers``, …) → resources. ``answers``: to requests with an id
    (path, id). ``guest_factory`` is called with each VM that is created, when it is about to run, and returns it with
    its guest.
    """

    def __init__(
        self,
        vms: Iterable[Vm],
        project_metadata: Mapping[str, Mapping[str, str]],
        delays: Delays,
        guest_factory: GuestFactory | None = None,
    ) -> None:
        super().__init__()
        self._threads = WorkerThreads()
        self.changed = self._threads.changed
        self.delays = delays
        self.project_metadata: dict[str, dict[str, str]] = {}
        self.networks: dict[str, dict[str, list[Json]]] = {}
        self.os_login = OsLogin(self.changed)
        self.instances: list[EmulatedInstance] = []
        self.disks: list[EmulatedDisk] = []
        self.snapshots: list[EmulatedSnapshot] = []
        self.answers: dict[tuple[str, str], Json] = {}
        self._operations: list[Operation] = []
        self._power = Power(self._threads, delays, self.guest_attributes_enabled, self.on_start)
        self._lifetimes = Lifetimes(
            self._threads,
            delays,
            self._power,
            self.instances,
            self.disks,
            self._new_operation,
            guest_factory or (lambda vm: vm),
            self._on_created,
        )
        for project, items in project_metadata.items():
            self._add_project(project, items)
        for vm in vms:
            self.add(vm)

    def projects(self) -> list[str]:
        return list(self.project_metadata)

    def instance(self, project: str, zone: str, name_or_id: str) -> EmulatedInstance:
        """Raises ``ApiError`` 404."""
        with self.changed:
            for instance in self.instances:
                vm = instance.vm
                if (vm.project, vm.zone) == (project, zone) and name_or_id in (vm.name, instance.id):
                    return instance
        raise not_found(f"projects/{project}/zones/{zone}/instances/{name_or_id}")

    def disk(self, project: str, zone: str, name: str) -> EmulatedDisk:
        """Raises ``ApiError`` 404."""
        with self.changed:
            for disk in self.disks:
                if (disk.project, disk.zone) == (project, zone) and name in (disk.name, disk.id):
                    return disk
        raise not_found(f"projects/{project}/zones/{zone}/disks/{name}")

    def snapshot(self, project: str, name: str) -> EmulatedSnapshot:
        """Raises ``ApiError`` 404."""
        with self.changed:
            for snapshot in self.snapshots:
                if snapshot.project == project and name in (snapshot.name, snapshot.id):
                    return snapshot
        raise not_found(f"projects/{project}/global/snapshots/{name}")

    def users_of(self, disk: EmulatedDisk) -> list[EmulatedInstance]:
        """The instances that ``disk`` is attached to."""
        with self.changed:
            return [
                instance
                for instance in self.instances
                if disk.url in [attached.get("source") for attached in instance.parts["disks"]]
            ]

    def operation(self, project: str, zone: str, name_or_id: str) -> Operation:
        """Raises ``ApiError`` 404."""
        for operation in self.operations(project, zone):
            if name_or_id in (operation.name, operation.id):
                return operation
        raise not_found(f"projects/{project}/zones/{zone}/operations/{name_or_id}")

    def operations(self, project: str, zone: str) -> list[Operation]:
        with self.changed:
            return [found for found in self._operations if (found.project, found.zone) == (project, zone)]

    def wait_until_done(self, operation: Operation) -> None:
        """Returns when it is done, or after ``max_wait_s``."""
        with self.changed:
            self.changed.wait_for(lambda: self._threads.closing or operation.status == "DONE", self.delays.max_wait_s)

    def change(self, verb: str, instance: EmulatedInstance) -> Operation:
        """Begins what ``verb`` of ``CHANGES`` asks for. Raises ``ApiError`` if the instance's status forbids it."""
        change = CHANGES[verb]
        with self.changed:
            change.check(instance)
            fault = self._checked(self.fault(verb, instance)) if instance.status in change.allowed_from else None
            operation = self._new_operation(verb, instance)
            operation.fault = fault
            if instance.status in change.allowed_from:
                self._power.start_change(change, instance, operation)
            else:
                self._power.finish_after(0.0, operation)
            return operation

    def insert(self, instance: EmulatedInstance, disks: Iterable[EmulatedDisk]) -> Operation:
        """Begins to create ``instance`` and its new ``disks``. Raises ``ApiError``."""
        with self.changed:
            fault = self._checked(self.fault("insert", instance))
            self.instances.append(instance)
            self.disks.extend(disks)
            operation = self._new_operation("insert", instance)
            operation.fault = fault
            self._lifetimes.insert(instance, operation, self.capacity_after_s.get(instance.vm.zone, 0.0))
            return operation

    def delete(self, instance: EmulatedInstance) -> Operation:
        """Begins to delete ``instance``, with the disks that go with it. Raises ``ApiError``."""
        with self.changed:
            self._lifetimes.check_deletable(instance)
            operation = self._new_operation("delete", instance)
            self._lifetimes.delete(instance, operation)
            return operation

    def start(
        self, verb: str, operation: Operation, at_end: Callable[[], None], at_failure: Callable[[], None] = lambda: None
    ) -> None:
        """Begins ``operation`` on a disk or a snapshot; ``verb``: such as ``disks.insert``. Raises ``ApiError``."""
        with self.changed:
            operation.fault = self._checked(self.fault(verb))
            self._operations.append(operation)
            self._power.finish_after(self.delays.disk_s, operation, at_failure if operation.fault else at_end)

    def fault(self, verb: str, instance: EmulatedInstance | None = None) -> Fault | None:
        """What ``verb`` fails with: a zone without capacity, or a quota."""
        if instance is None or verb not in ("insert", "start", "resume"):
            return None
        vm = instance.vm
        others = [other for other in self.instances if other.vm.project == vm.project]
        over = quotas.exceeded(instance, others, self.quota_limits, refuses_request=self.quota_refuses_requests)
        if over is None and vm.zone in self.exhausted:
            return no_capacity(self.exhausted[vm.zone], vm.project, vm.zone)
        return over

    def set_metadata(self, instance: EmulatedInstance, metadata: Mapping[str, str], fingerprint: str) -> Operation:
        """Raises ``ApiError`` 412 if ``fingerprint`` is not that of the present metadata."""
        with self.changed:
            if fingerprint != instance.metadata_fingerprint():
                raise stale_fingerprint()
            operation = self._new_operation("setMetadata", instance)
            instance.metadata = dict(metadata)
            self.changed.notify_all()
            self._power.finish_after(self.delays.metadata_s, operation)
            return operation

    def set_project_metadata(self, project: str, metadata: Mapping[str, str], fingerprint: str) -> Operation:
        """Raises ``ApiError`` 412 if ``fingerprint`` is not that of the present metadata."""
        with self.changed:
            if fingerprint != metadata_fingerprint(self.project_metadata[project]):
                raise stale_fingerprint()
            operation = Operation("setMetadata", project, "", f"projects/{project}", PROJECT_ID, USER)
            self._operations.append(operation)
            self.project_metadata[project] = dict(metadata)
            self.changed.notify_all()
            self._power.finish_after(self.delays.metadata_s, operation)
            return operation

    def guest_attributes_enabled(self, instance: EmulatedInstance) -> bool:
        with self.changed:
            project = self.project_metadata[instance.vm.project]
            value = instance.metadata.get("enable-guest-attributes", project.get("enable-guest-attributes", ""))
            return value.lower() == "true"

    def project_metadata_as_json(self, project: str) -> Json:
        with self.changed:
            metadata = self.project_metadata[project]
            return metadata_as_json(metadata, metadata_fingerprint(metadata))

    def close(self) -> None:
        self._threads.close()

    def add(self, vm: Vm) -> None:
        """Adds an instance."""
        boot_disk = EmulatedDisk(vm.project, vm.zone, vm.name, content=vm.content)
        disks = [boot_disk, *(EmulatedDisk(vm.project, vm.zone, name) for name in vm.data_disks)]
        instance = EmulatedInstance(vm, default_parts(vm, disks))
        self.disks.extend(disks)
        self.instances.append(instance)
        self._add_project(vm.project, {})
        if instance.status == "RUNNING":
            self._power.boot(instance, 0.0)
        self._start_agent(instance)

    def _add_project(self, project: str, metadata: Mapping[str, str]) -> None:
        self.project_metadata.setdefault(project, dict(metadata))
        self.networks.setdefault(project, default_resources(project))

    def on_start(self, instance: EmulatedInstance) -> None:
        """Is called when ``instance`` has become RUNNING. The caller holds the lock."""
        self._lifetimes.limit_run(instance)

    def _on_created(self, instance: EmulatedInstance) -> None:
        self._start_agent(instance)
        self.on_start(instance)

    def _start_agent(self, instance: EmulatedInstance) -> None:
        if instance.vm.authorize is not None:
            self._threads.spawn(lambda: self._authorize(instance))

    def _authorize(self, instance: EmulatedInstance) -> None:
        """The guest agent of ``instance``, until it is deleted."""
        reported: object = None
        vm = instance.vm
        while not self._threads.closing and not instance.deleting:
            with self.changed:
                current = authorized_keys(instance, self.project_metadata[vm.project], self.os_login)
                if current.entries == reported or instance.status != "RUNNING":
                    self.changed.wait(min(AGENT_POLL_S, max(0.0, current.until - time.time())))
                    continue
            reported = current.entries
            if vm.authorize is not None and self._threads.sleep(vm.authorize_after_s):
                vm.authorize(current.entries)

    @staticmethod
    def _checked(fault: Fault | None) -> OperationFault | None:
        """Raises the ``ApiError`` of a fault that refuses the request."""
        if isinstance(fault, RequestFault):
            raise fault.as_error()
        return fault

    def _new_operation(self, kind: str, instance: EmulatedInstance, user: str = USER) -> Operation:
        vm = instance.vm
        operation = Operation(kind, vm.project, vm.zone, instance.resource, instance.id, user)
        self._operations.append(operation)
        return operation
