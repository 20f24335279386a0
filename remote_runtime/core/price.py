"""What an hour of a VM costs, by Google's price list."""

from __future__ import annotations

from .fast_dataclass import fast_dataclass


@fast_dataclass(frozen=True)
class PricePart:
    """``what``: such as ``cores`` or ``GPU``. ``amount``: per hour, in the currency of the whole."""

    what: str
    amount: float


@fast_dataclass(frozen=True)
class HourlyPrice:
    """``amount``: per hour, the sum of ``parts``. ``currency``: ISO 4217. ``provisioning``: as in
    ``CreateSettings``."""

    amount: float
    currency: str
    parts: tuple[PricePart, ...] = ()
    provisioning: str = "standard"
