"""The price list, read while other work is done, and waited for only for a moment."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from ...core.callbacks import Progress
from ...core.deadline import Deadline
from ...core.errors import RemoteRuntimeError
from ...core.price import HourlyPrice
from ..client import gcloud_config
from . import price_list
from .fetch import current_prices
from .hourly import DiskShape, MachineShape, has_free_licenses, hourly_price
from .price_list import PriceList


class PricesBeside:
    """Reads the price list in a thread of its own, unless it was read today. It ends with this process. ``within_s``:
    how long ``price`` waits for the list."""

    def __init__(self, environ: Mapping[str, str], deadline: Deadline, *, progress: Progress, within_s: float) -> None:
        self._prices: PriceList | None = None
        self._reader: threading.Thread | None = None
        self._progress = progress
        self._wait = deadline.within(within_s)
        if not gcloud_config.has_price_list(environ):
            return
        self._prices = price_list.load(gcloud_config.endpoint(environ, gcloud_config.CLOUD_BILLING), environ)
        if self._prices is None:
            self._reader = threading.Thread(target=self._read, args=(environ, deadline), name="prices", daemon=True)
            self._reader.start()

    def price(
        self,
        shape: MachineShape | None,
        disks: Sequence[DiskShape],
        region: str,
        provisioning: str,
        licenses: Sequence[str],
    ) -> HourlyPrice | None:
        """None also where the list does not come in time. ``licenses``: of the image."""
        if self._reader is not None and self._reader.is_alive():
            self._progress("Reading Google's price list")
            self._reader.join(self._wait.remaining_s())
        prices = self._prices
        if prices is None or shape is None or not has_free_licenses(licenses):
            return None
        return hourly_price(prices, shape, disks, region, provisioning)

    def _read(self, environ: Mapping[str, str], deadline: Deadline) -> None:
        try:
            self._prices = current_prices(environ, progress=lambda text: None, deadline=deadline)
        except RemoteRuntimeError:
            return  # then there is no price, which `doctor` explains
