"""How instances come to exist and cease to: ``insert``, ``delete``, and the end of ``maxRunDuration``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from .api_errors import ApiError, not_ready
from .disks import EmulatedDisk
from .faults import OperationFault
from .instance import EmulatedInstance
from .operations import PACIFIC, Operation, timestamp
from .power import CHANGES, Power, WorkerThreads
from .values import Delays, Vm

_CANCELLED = OperationFault("OPERATION_CANCELED_BY_USER")
_NO_CAPACITY = OperationFault("ZONE_RESOURCE_POOL_EXHAUSTED")


@dataclass
class Lifetimes:
    """Works in ``threads``. ``new_operation`` makes one of that kind; ``equip`` gives a created VM its guest;
    ``on_created`` is called when it runs."""

    threads: WorkerThreads
    delays: Delays
    power: Power
    instances: list[EmulatedInstance]
    disks: list[EmulatedDisk]
    new_operation: Callable[[str, EmulatedInstance, str], Operation]
    equip: Callable[[Vm], Vm]
    on_created: Callable[[EmulatedInstance], None]

    def insert(self, instance: EmulatedInstance, operation: Operation, capacity_after_s: float) -> None:
        """Creates ``instance``, which is in the lists already; without capacity it leaves them again.

        ``capacity_after_s``: how long an instance of FLEX_START has to wait for it.
        """
        self.threads.spawn(lambda: self._insert(instance, operation, capacity_after_s))

    def delete(self, instance: EmulatedInstance, operation: Operation) -> None:
        with self.threads.changed:
            instance.deleting = True
            self.power.set_status(instance, "STOPPING")
        self.threads.spawn(lambda: self._delete(instance, operation))

    def limit_run(self, instance: EmulatedInstance) -> None:
        """Ends ``instance`` when its ``maxRunDuration`` has passed since now, unless it is started again."""
        if not instance.max_run_s:
            return
        seconds = instance.max_run_s * self.delays.time_scale
        with self.threads.changed:
            ends_at = datetime.fromtimestamp(time.time() + seconds, PACIFIC).isoformat(timespec="microseconds")
            instance.ends_at = ends_at

        def work() -> None:
            if not self.threads.sleep(seconds):
                return
            with self.threads.changed:
                if instance.ends_at == ends_at:
                    self.end(instance)

        self.threads.spawn(work)

    def end(self, instance: EmulatedInstance, kind: str = "") -> None:
        """Stops or deletes a running instance as its ``instanceTerminationAction`` says: ``maxRunDuration`` has passed,
        or it is preempted. ``kind``: of the operation, if it is not ``stop`` or ``delete``. The caller holds the lock.
        """
        instance.ends_at = ""
        if instance.deleting or instance.status != "RUNNING":
            return
        if instance.parts["scheduling"].get("instanceTerminationAction") == "DELETE":
            self.delete(instance, self.new_operation(kind or "delete", instance, "system"))
        else:
            self.power.start_change(CHANGES["stop"], instance, self.new_operation(kind or "stop", instance, "system"))

    def check_deletable(self, instance: EmulatedInstance) -> None:
        """Raises ``ApiError``."""
        if instance.deleting:
            raise not_ready(instance.resource)
        if instance.parts["deletionProtection"]:
            message = "Invalid resource usage: 'Resource cannot be deleted if it's protected against deletion.'."
            raise ApiError(400, "invalidResourceUsage", message)

    def _insert(self, instance: EmulatedInstance, operation: Operation, capacity_after_s: float) -> None:
        if not self.threads.sleep(self.delays.queue_s):
            return
        operation.start()
        fault = operation.fault
        if instance.is_flex_start and not fault:
            waits_s = instance.valid_for_s * self.delays.time_scale
            self._pass(instance, "PENDING", min(capacity_after_s, waits_s))
            fault = _NO_CAPACITY if capacity_after_s > waits_s else None
        self._pass(instance, "PROVISIONING", self.delays.insert_s / 2)
        if instance.deleting or (fault and not fault.after_running):
            operation.fault = _CANCELLED if instance.deleting else fault
            if not instance.deleting:
                self._remove(instance)
            self.power.finish(operation)
            return
        self._pass(instance, "STAGING", self.delays.insert_s / 2)
        if not instance.deleting and not self.threads.closing:
            instance.vm = self.equip(instance.vm)
            with self.threads.changed:
                if not instance.deleting:
                    instance.last_start = timestamp()
                    instance.assign_address()
                    self.power.set_status(instance, "RUNNING")
                    self.on_created(instance)
                    self.power.boot(instance, self.delays.boot_s)
        operation.fault = _CANCELLED if instance.deleting else fault
        self.power.finish(operation)

    def _pass(self, instance: EmulatedInstance, status: str, seconds: float) -> None:
        """``instance`` is in ``status`` for that long, or until it is deleted."""
        with self.threads.changed:
            if not instance.deleting:
                self.power.set_status(instance, status)
                self.threads.changed.wait_for(lambda: self.threads.closing or instance.deleting, seconds)

    def _delete(self, instance: EmulatedInstance, operation: Operation) -> None:
        if not self.threads.sleep(self.delays.queue_s):
            return
        operation.start()
        if not self.threads.sleep(self.delays.delete_s):
            return
        if instance.vm.guest is not None:
            with instance.guest_lock:
                instance.vm.guest.halt()
        self._remove(instance)
        self.power.finish(operation)

    def _remove(self, instance: EmulatedInstance) -> None:
        with self.threads.changed:
            instance.deleting = True
            self.instances.remove(instance)
            gone = {each["source"] for each in instance.parts["disks"] if each["autoDelete"] and "source" in each}
            self.disks[:] = [disk for disk in self.disks if disk.url not in gone]
            self.threads.changed.notify_all()
