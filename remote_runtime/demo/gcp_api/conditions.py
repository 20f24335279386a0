"""What of the emulated Google Cloud can be set at any time: capacity, quotas, prices, what is out of order."""

from __future__ import annotations

from .values import Json


class Conditions:
    """``unreachable_zones``: zones that do not answer. ``exhausted``: zones without capacity, for a start as for an
    ``insert`` → how they say so (``faults.no_capacity``). ``capacity_after_s``: zone → how long FLEX_START has to wait
    there. ``obtainability``: zone → what ``advice.capacity`` says. ``quota_limits``: other limits than ``quotas`` has.
    ``quota_refuses_requests``: a request over quota is refused, and not its operation. ``disabled_services``: APIs that
    are not enabled. ``skus``: rows of the price list. ``spot_prices``: (region, machine type) → USD an hour.
    ``firewall_policies``: of all projects.
    """

    def __init__(self) -> None:
        self.unreachable_zones: set[str] = set()
        self.exhausted: dict[str, str] = {}
        self.capacity_after_s: dict[str, float] = {}
        self.obtainability: dict[str, float] = {}
        self.quota_limits: dict[tuple[str, str], float] = {}
        self.quota_refuses_requests = False
        self.disabled_services: set[str] = set()
        self.skus: list[Json] = []
        self.spot_prices: dict[tuple[str, str], float] = {}
        self.firewall_policies: list[Json] = []

    def permits(self, permission: str) -> bool:
        """Whether the caller has this IAM permission."""
        return True

    def admit(self, method_id: str) -> None:
        """Raises ``ApiError`` for a request that is refused whatever it asks. ``method_id``: ``instances.stop``."""
