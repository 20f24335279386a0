"""Detects that this computer was suspended or that its network has changed: the link must be checked then."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import time
from collections.abc import Callable

MIN_STANDSTILL_S = 5.0
TICK_S = 1.0
# Nothing is sent there: connecting a UDP socket only selects the route and with it the source address.
PROBE_ADDRESSES = ("8.8.8.8", "2001:4860:4860::8888")
Clock = Callable[[], float]


class NetworkChangeDetector:
    """``peer``: the address of the link's other end. ``clocks``: the monotonic one first. It stops during a suspend on
    some systems, and the wall clock may be set at any time, so both are compared."""

    def __init__(
        self,
        peer: str,
        *,
        clocks: tuple[Clock, ...] = (time.monotonic, time.time),
        network: Callable[[str], frozenset[str]] | None = None,
    ) -> None:
        self._peer = peer
        self._clocks = clocks
        self._network = network or local_network
        self._last_network = self._network(peer)
        self.reset()

    def reset(self) -> None:
        """Do not count the time up to now as a standstill."""
        self._last_times = [clock() for clock in self._clocks]

    def poll(self, waited_s: float = TICK_S) -> str:
        """What has happened since the last ``poll`` or ``reset``, as text; empty if nothing. ``waited_s``: how long the
        caller meant to wait since then, at most."""
        before = self._last_times
        self.reset()
        passed = [now - then for now, then in zip(self._last_times, before, strict=True)]
        late_s = max(passed) - min(waited_s, passed[0])
        network, self._last_network = self._last_network, self._network(self._peer)
        if late_s > MIN_STANDSTILL_S:
            return f"this computer was suspended for {late_s:.0f} s"
        return "the local network has changed" if network != self._last_network else ""


def local_network(peer: str) -> frozenset[str]:
    """The addresses of the active interfaces, if the system lists them, and the source addresses of routes."""
    return frozenset(_interface_addresses() | {f"from {source}" for source in _source_addresses(peer)})


def _interface_addresses() -> set[str]:
    import psutil

    try:
        up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
        listed = psutil.net_if_addrs()
    except (OSError, psutil.Error):  # some sandboxes forbid it, and an interface may disappear meanwhile
        return set()
    return {
        address.address
        for name in up
        for address in listed.get(name, ())
        if address.family in (socket.AF_INET, socket.AF_INET6)
    }


def _source_addresses(peer: str) -> set[str]:
    sources = set()
    for address in (peer, *PROBE_ADDRESSES):
        with contextlib.suppress(ValueError, OSError):  # a name, or no route
            family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((address, 9))
                sources.add(str(probe.getsockname()[0]))
    return sources
