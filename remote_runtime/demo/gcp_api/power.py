"""Changes of an instance's status, with what its guest does meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .api_errors import ApiError, invalid, not_ready
from .instance import EmulatedInstance
from .operations import Operation, timestamp
from .values import Delays

STOPPED = frozenset({"TERMINATED", "STOPPED"})


@dataclass(frozen=True)
class StatusChange:
    """``verb``: the API's. It is possible in the statuses ``allowed_from``; in ``unchanged_in`` it does nothing."""

    verb: str
    allowed_from: frozenset[str]
    transitional: tuple[str, ...]
    final: str
    unchanged_in: frozenset[str] = frozenset()

    def check(self, instance: EmulatedInstance) -> None:
        """Raises ``ApiError`` if the status of ``instance`` forbids the change."""
        if instance.status in self.allowed_from | self.unchanged_in:
            return
        if instance.status in {"RUNNING", "SUSPENDED"} | STOPPED:
            raise _wrong_status_error(self.verb, instance.status)
        raise not_ready(instance.resource)


CHANGES = {
    change.verb: change
    for change in (
        StatusChange("start", STOPPED, ("PROVISIONING", "STAGING"), "RUNNING", frozenset({"RUNNING"})),
        StatusChange("stop", frozenset({"RUNNING", "SUSPENDED"}), ("STOPPING",), "TERMINATED", STOPPED),
        StatusChange("suspend", frozenset({"RUNNING"}), ("SUSPENDING",), "SUSPENDED", frozenset({"SUSPENDED"})),
        StatusChange(
            "resume", frozenset({"SUSPENDED"}), ("PROVISIONING", "STAGING"), "RUNNING", frozenset({"RUNNING"})
        ),
        StatusChange("reset", frozenset({"RUNNING"}), ("RUNNING",), "RUNNING"),
    )
}


class Power:
    """Works in ``threads``. ``guest_attributes_enabled`` is called before the guest writes its host keys,
    ``on_start`` when a stopped or suspended instance runs."""

    def __init__(
        self,
        threads: WorkerThreads,
        delays: Delays,
        guest_attributes_enabled: Callable[[EmulatedInstance], bool],
        on_start: Callable[[EmulatedInstance], None],
    ) -> None:
        self._threads = threads
        self._changed = threads.changed
        self._delays = delays
        self._guest_attributes_enabled = guest_attributes_enabled
        self._on_start = on_start

    def start_change(self, change: StatusChange, instance: EmulatedInstance, operation: Operation) -> None:
        """Begins the change; ``operation`` is DONE at its end."""
        with self._changed:
            before = instance.status
            self.set_status(instance, change.transitional[0])
            self._threads.spawn(lambda: self._work(change, instance, operation, before))

    def finish_after(self, seconds: float, operation: Operation, at_end: Callable[[], None] = lambda: None) -> None:
        """Completes an operation that changes no status; ``at_end``: what it does."""

        def work() -> None:
            if self._threads.sleep(self._delays.queue_s):
                operation.start()
                if self._threads.sleep(seconds):
                    with self._changed:
                        at_end()
                        self.finish(operation)

        self._threads.spawn(work)

    def boot(self, instance: EmulatedInstance, boot_s: float) -> None:
        """Boots the guest, which then writes its host keys; cancelled when the instance leaves RUNNING."""
        with self._changed:
            instance.boot_count += 1
            boot = instance.boot_count
        vm = instance.vm

        def still_on() -> bool:
            with self._changed:
                running = instance.status == "RUNNING" and not instance.deleting
                return running and instance.boot_count == boot

        def work() -> None:
            keys: Mapping[str, str] = vm.host_keys
            if not self._threads.sleep(boot_s):
                return
            if vm.guest is not None:
                with instance.guest_lock:
                    if not still_on():
                        return
                    keys = vm.guest.boot()
            if self._threads.sleep(vm.host_keys_after_s) and still_on():
                self._write_host_keys(instance, keys)

        if boot_s or vm.host_keys_after_s or vm.guest:
            self._threads.spawn(work)
        else:
            self._write_host_keys(instance, vm.host_keys)

    def set_status(self, instance: EmulatedInstance, status: str) -> None:
        with self._changed:
            instance.status = status
            self._changed.notify_all()

    def finish(self, operation: Operation) -> None:
        with self._changed:
            operation.finish()
            self._changed.notify_all()

    def _work(self, change: StatusChange, instance: EmulatedInstance, operation: Operation, before: str) -> None:
        work_s = self._delays.start_s if change.final == "RUNNING" else self._delays.stop_s
        if not self._threads.sleep(self._delays.queue_s):
            return
        operation.start()
        for status in change.transitional[: 1 if operation.fault else None]:
            self._set_unless_deleted(instance, status)
            if not self._threads.sleep(work_s / len(change.transitional)):
                return
        if operation.fault:
            self._set_unless_deleted(instance, before)
        elif not instance.deleting:
            self._prepare_guest(change.verb, instance)
            self._complete(change, instance)
        self.finish(operation)

    def _set_unless_deleted(self, instance: EmulatedInstance, status: str) -> None:
        with self._changed:
            if not instance.deleting:
                self.set_status(instance, status)

    def _prepare_guest(self, verb: str, instance: EmulatedInstance) -> None:
        guest = instance.vm.guest
        if guest is None:
            return
        with instance.guest_lock:
            if verb in ("stop", "reset"):
                guest.halt()
            elif verb == "suspend":
                guest.freeze()
            elif verb == "resume":
                guest.thaw()

    def _complete(self, change: StatusChange, instance: EmulatedInstance) -> None:
        with self._changed:
            if instance.deleting:
                return
            instance.ends_at = instance.ends_at if change.verb == "reset" else ""
            if change.final == "RUNNING":
                instance.last_start = timestamp()
                if change.verb != "reset":
                    instance.assign_address()
                    self._on_start(instance)
            elif change.final == "SUSPENDED":
                instance.last_suspended = timestamp()
                instance.release_address()
            else:
                instance.last_stop = timestamp()
                instance.release_address()
            self.set_status(instance, change.final)
        if change.verb in ("start", "reset"):
            self.boot(instance, self._delays.boot_s)

    def _write_host_keys(self, instance: EmulatedInstance, keys: Mapping[str, str]) -> None:
        with self._changed:
            if self._guest_attributes_enabled(instance):
                instance.guest_attributes |= {f"hostkeys/{kind}": value for kind, value in keys.items()}
            self._changed.notify_all()


def _wrong_status_error(verb: str, status: str) -> ApiError:
    return invalid(f"Invalid value for field 'resource.status': '{status}'. Instance cannot {verb} in this status.")


class WorkerThreads:
    """Threads that share the condition ``changed``; ``close`` interrupts their sleeps and joins them."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.closing = False
        self._threads: list[threading.Thread] = []

    def spawn(self, work: Callable[[], None]) -> None:
        with self.changed:
            if self.closing:
                return
            thread = threading.Thread(target=work, name="demo-cloud")
            self._threads = [other for other in self._threads if other.is_alive()] + [thread]
            thread.start()

    def sleep(self, seconds: float) -> bool:
        """False if ``close`` was called meanwhile."""
        with self.changed:
            return not self.changed.wait_for(lambda: self.closing, seconds)

    def close(self) -> None:
        with self.changed:
            self.closing = True
            self.changed.notify_all()
            threads = list(self._threads)
        for thread in threads:
            thread.join()
