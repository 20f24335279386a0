"""What an hour of a VM costs, by Google's price list."""

from __future__ import annotations

from datetime import datetime, timezone

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


def money(amount: float, currency: str) -> str:
    """An amount for people, such as ``$0.87``."""
    digits = 2 if amount == 0 or amount >= 0.1 else 3
    return f"${amount:.{digits}f}" if currency == "USD" else f"{amount:.{digits}f} {currency}"


def cost_since(price: HourlyPrice, moment: str) -> float:
    """An estimate of what the VM has cost since an ISO 8601 moment, if it has run since."""
    hours = (datetime.now(timezone.utc) - datetime.fromisoformat(moment)).total_seconds() / 3600
    return price.amount * max(0.0, hours)
