"""The price of an hour of the VM, read beside the other steps: nothing waits for it, and without it nothing fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..core.deadline import Deadline
from ..core.errors import RemoteRuntimeError
from ..core.model import Instance
from ..targets import Target
from .runtime_record import RuntimeRecord, now

log = logging.getLogger(__name__)
PRICE_TIMEOUT_S = 120.0  # the price list has thousands of rows


class PriceReader:
    """``open_target``: as the keeper's profile and environment are now."""

    def __init__(self, record: RuntimeRecord, open_target: Callable[[], Target]) -> None:
        self._record = record
        self._open_target = open_target
        self._lock = threading.Lock()
        self._boot: tuple[str | None, str] = ("", "")

    def follow(self, instance: Instance) -> None:
        """Reads the price of a VM of Compute Engine in a thread of its own, once for each of its boots."""
        boot = (instance.id, instance.running_since)
        with self._lock:
            if instance.kind != "gce" or instance.status != "RUNNING" or boot == self._boot:
                return
            self._boot = boot
        self._record.update(price_since=self._since(instance))
        threading.Thread(target=self._read, args=(instance, boot), name="price", daemon=True).start()

    def _since(self, instance: Instance) -> str:
        """From when the VM runs in this runtime: its start, or the first `up` that found it running."""
        known, started = self._record.runtime.price_since, instance.running_since
        if known and known >= started:
            return known
        return started if started and instance.started_from is not None else now()

    def _read(self, instance: Instance, boot: tuple[str | None, str]) -> None:
        try:
            price = self._open_target().hourly_price(instance, Deadline(PRICE_TIMEOUT_S))
        except (RemoteRuntimeError, RuntimeError, OSError) as error:  # RuntimeError: a bug in the worker process
            log.info("no price of %s: %s", instance.name, error)
            return
        with self._lock:
            is_current = boot == self._boot
        if is_current and price != self._record.runtime.price:
            self._record.update(price=price)
