"""The state of the emulated projects: instances, disks, operations, firewall rules."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from . import quotas
from .api_errors import not_found, stale_fingerprint
from .disks import EmulatedDisk
from .faults import Fault, OperationFault, RequestFault, no_capacity
from .guest_agent import authorized_keys
from .instance import EmulatedInstance, default_parts, metadata_as_json, metadata_fingerprint
from .lifetimes import Lifetimes
from .operations import BASE, Operation, new_id, timestamp
from .os_login import OsLogin
from .power import CHANGES, Power, WorkerThreads
from .values import Delays, Json, Vm

PROJECT_ID = "4503599627370497123"
AGENT_POLL_S = 30.0
USER = "demo@example.com"
GuestFactory = Callable[[Vm], Vm]


class Cloud:
    """Everything is guarded by ``changed``, which is notified at each change. ``close`` ends all work in progress.

    ``firewalls``: project → rules of its network; ``firewall_policies``: rules for all projects.
    ``unreachable_zones``: zones that do not answer. ``exhausted``: zones without capacity, for a start as for an
    ``insert`` → how they say so (``no_capacity``). ``capacity_after_s``: zone → how long FLEX_START has to wait there.
    ``quota_limits``: other limits than ``quotas`` has. ``quota_refuses_requests``: a request over quota is refused, and
    not its operation. ``answers``: to requests with an id (path, id). ``guest_factory`` is called with each VM that is
    created, when it is about to run, and returns it with its guest.
    """

    def __init__(
        self,
        vms: Iterable[Vm],
        project_metadata: Mapping[str, Mapping[str, str]],
        delays: Delays,
        guest_factory: GuestFactory | None = None,
    ) -> None:
        self._threads = WorkerThreads()
        self.changed = self._threads.changed
        self.delays = delays
        self.project_metadata = {project: dict(items) for project, items in project_metadata.items()}
        self.unreachable_zones: set[str] = set()
        self.firewalls: dict[str, list[Json]] = {}
        self.firewall_policies: list[Json] = []
        self.os_login = OsLogin(self.changed)
        self.instances: list[EmulatedInstance] = []
        self.disks: list[EmulatedDisk] = []
        self.exhausted: dict[str, str] = {}
        self.quota_limits: dict[tuple[str, str], float] = {}
        self.quota_refuses_requests = False
        self.capacity_after_s: dict[str, float] = {}
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
        for vm in vms:
            self.add(vm)

    def permits(self, permission: str) -> bool:
        """Whether the caller has this IAM permission."""
        return True

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

    def fault(self, verb: str, instance: EmulatedInstance) -> Fault | None:
        """What ``verb`` fails with: a zone without capacity, or a quota."""
        vm = instance.vm
        if verb not in ("insert", "start", "resume"):
            return None
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
        disk = EmulatedDisk(vm.project, vm.zone, vm.name, content=vm.content)
        instance = EmulatedInstance(vm, default_parts(vm, disk))
        self.disks.append(disk)
        self.instances.append(instance)
        self.project_metadata.setdefault(vm.project, {})
        self.firewalls.setdefault(vm.project, default_firewalls(vm.project))
        if instance.status == "RUNNING":
            self._power.boot(instance, 0.0)
        self._start_agent(instance)

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


def default_firewalls(project: str) -> list[Json]:
    return [
        firewall_rule(project, "default-allow-ssh", "0.0.0.0/0", ports=("22",)),
        firewall_rule(project, "default-allow-rdp", "0.0.0.0/0", ports=("3389",)),
        firewall_rule(project, "default-allow-internal", "10.128.0.0/9", ports=("0-65535",)),
    ]


def firewall_rule(
    project: str, name: str, *sources: str, ports: tuple[str, ...] = ("22",), allow: bool = True, priority: int = 65534
) -> Json:
    """An ingress rule for TCP."""
    path = f"projects/{project}/global/firewalls/{name}"
    return {
        "kind": "compute#firewall",
        "id": new_id(),
        "creationTimestamp": timestamp(),
        "name": name,
        "description": "",
        "network": f"{BASE}projects/{project}/global/networks/default",
        "priority": priority,
        "direction": "INGRESS",
        "sourceRanges": list(sources),
        "allowed" if allow else "denied": [{"IPProtocol": "tcp", "ports": list(ports)}],
        "logConfig": {"enable": False},
        "disabled": False,
        "selfLink": f"{BASE}{path}",
    }
