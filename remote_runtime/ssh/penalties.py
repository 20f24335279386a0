"""Penalties of OpenSSH 9.8 and newer for clients with failed logins (``PerSourcePenalties``, sshd_config(5)).

By default a failed login costs 5 s and a connection without a login 1 s. They add up, and pass with time; a client that
reaches 15 s is refused before the server's version until that time has passed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

LOGIN_PENALTY_S, CONNECTION_PENALTY_S = 5.0, 1.0
# Two logins in a row leave less than the limit; one more has to wait.
_MAX_PENALTY_S = 7.5
_FIRST_VERSION = (9, 8)
_OPENSSH = re.compile(r"OpenSSH_(\d+)\.(\d+)")


class Penalties:
    """An estimate of this computer's penalties, by the address and port of each server. ``clock``: seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[tuple[str, int], float] = {}
        self._penalizing: set[tuple[str, int]] = set()

    def note_version(self, address: tuple[str, int], version: str) -> None:
        """``version``: the server's, such as ``SSH-2.0-OpenSSH_9.9``."""
        match = _OPENSSH.search(version)
        if match is not None and (int(match[1]), int(match[2])) >= _FIRST_VERSION:
            self._penalizing.add(address)
        else:
            self._penalizing.discard(address)

    def add(self, address: tuple[str, int], cost_s: float) -> None:
        self._until[address] = max(self._clock(), self._until.get(address, 0.0)) + cost_s

    def pause_s(self, address: tuple[str, int]) -> float:
        """How long to wait before the next login, which may fail too."""
        if address not in self._penalizing:
            return 0.0
        return max(0.0, self._until.get(address, 0.0) - self._clock() - _MAX_PENALTY_S)
