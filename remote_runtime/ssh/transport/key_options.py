"""The options of the accepted key in authorized_keys, which OpenSSH's server sends in a debug message after the login.

``FILE:LINE: key options: agent-forwarding port-forwarding pty …`` lists what is allowed, and ``command`` and
``permitopen`` if they are set (``auth_log_authopts`` of OpenSSH 7.7 and newer). Other servers send nothing.
"""

from __future__ import annotations

import re

from ...core.fast_dataclass import fast_dataclass
from ...core.sanitize import clean_line

_DEBUG_MESSAGE = re.compile(r"(.+:\d+): key options:([a-z0-9 -]*)")


@fast_dataclass(frozen=True)
class KeyOptions:
    """``location``: the server's FILE:LINE, empty where it sent none."""

    location: str = ""
    names: tuple[str, ...] = ()

    @property
    def forbids_forwarding(self) -> bool:
        return bool(self.location) and "port-forwarding" not in self.names

    @property
    def forces_command(self) -> bool:
        return "command" in self.names

    @property
    def limits_destinations(self) -> bool:
        return "permitopen" in self.names


def parse_key_options(text: str) -> KeyOptions | None:
    """None for another debug message."""
    found = _DEBUG_MESSAGE.match(clean_line(text, 400))
    return KeyOptions(found[1], tuple(found[2].split())) if found else None
