"""A way to a machine's SSH port that is not an ordinary connection."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from ..core.deadline import Deadline
from ..core.errors import SshError


class NoVersionReceived(SshError):
    """``ssh-unreachable``: a port that accepts connections, and no SSH server that has spoken there yet."""


class Connection(Protocol):
    """``socket``: blocking, its other end is the machine's SSH port. ``why_ended``: empty while it is open, and when it
    was ended from this side."""

    @property
    def socket(self) -> socket.socket: ...
    def close_reason(self) -> str: ...
    def close(self) -> None: ...


Connector = Callable[[Deadline], Connection]
"""Opens one. Raises ``SshError`` and ``Interrupted``."""
