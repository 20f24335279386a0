"""What a machine's serial console tells about a boot that did not end well."""

from __future__ import annotations

import re
from typing import Literal

from ...core.fast_dataclass import fast_dataclass
from ...core.sanitize import clean_line

MAX_LINE_CHARS = 200
_BOOT_START = re.compile(r"^.*\bLinux version \d", re.MULTILINE)
_UP = re.compile(
    r"^\S+ login: ?$|Reached target .*(Multi-User|Graphical)|Started .*(OpenBSD Secure Shell|OpenSSH)"
    r"|sshd\[\d+\]: Server listening",
    re.MULTILINE,
)

BootState = Literal["panic", "emergency", "disk-full", "no-sshd", "booting", "up", "unknown"]
_PATTERNS: tuple[tuple[BootState, re.Pattern[str]], ...] = (
    ("panic", re.compile(r"Kernel panic - not syncing.*")),
    (
        "emergency",
        re.compile(r"You are in (?:emergency|rescue) mode|Entering emergency mode|Give root password for maintenance"),
    ),
    ("disk-full", re.compile(r".*no space left on device.*", re.IGNORECASE)),
    ("no-sshd", re.compile(r"Failed to start .*(?:OpenBSD Secure Shell|OpenSSH|\bsshd?\.service).*")),
)


@fast_dataclass(frozen=True)
class BootStatus:
    """``line``: what the console says, cleaned; empty for ``booting``, ``up`` and ``unknown``."""

    state: BootState
    line: str = ""


def parse_serial_output(contents: str) -> BootStatus:
    """The worst that the last boot tells of itself."""
    text = contents.replace("\r", "")
    begins = [match.start() for match in _BOOT_START.finditer(text)]
    last = text[begins[-1] :] if begins else text
    for state, pattern in _PATTERNS:
        if found := pattern.search(last):
            return BootStatus(state, clean_line(found.group(), MAX_LINE_CHARS))
    if _UP.search(last):
        return BootStatus("up")
    return BootStatus("booting" if begins or not text.strip() else "unknown")
