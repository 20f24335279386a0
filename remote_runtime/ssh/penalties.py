"""What a server holds against those who come in vain: OpenSSH 9.8 and newer (``PerSourcePenalties``, sshd_config(5)).

By default a failed login costs 5 s and a connection without one 1 s. They add up, and go by with time; an address that
owes 15 s is refused before any greeting until that time has gone by.
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
    """``clock``: seconds. What was done in vain, by the address and port of who may hold it against us."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[tuple[str, int], float] = {}
        self._penalizing: set[tuple[str, int]] = set()

    def note_version(self, address: tuple[str, int], version: str) -> None:
        """``version``: the server's line, such as ``SSH-2.0-OpenSSH_9.9``."""
        match = _OPENSSH.search(version)
        if match is not None and (int(match[1]), int(match[2])) >= _FIRST_VERSION:
            self._penalizing.add(address)
        else:
            self._penalizing.discard(address)

    def add(self, address: tuple[str, int], cost_s: float) -> None:
        self._until[address] = max(self._clock(), self._until.get(address, 0.0)) + cost_s

    def pause_s(self, address: tuple[str, int]) -> float:
        """How long to wait before the next login there, which may be in vain too."""
        if address not in self._penalizing:
            return 0.0
        return max(0.0, self._until.get(address, 0.0) - self._clock() - _MAX_PENALTY_S)
