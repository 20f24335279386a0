"""``NAME:PATH`` is a path on the machine of a profile; everything else is a path of this computer."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from ..core.errors import UsageError
from ..core.fast_dataclass import fast_dataclass

_REMOTE = re.compile(r"([^/\\:]+):(.*)", re.DOTALL)
_DRIVE = re.compile(r"[A-Za-z]:([/\\]|$)")


@fast_dataclass(frozen=True)
class FileEndpoint:
    """``name``: of the profile, None for this computer. ``path``: on the machine, relative to the home folder of the
    login; empty is that folder."""

    name: str | None
    path: str

    def __str__(self) -> str:
        return self.path if self.name is None else f"{self.name}:{self.path}"

    @property
    def path_bytes(self) -> bytes:
        return os.fsencode(self.path) if self.name is None else self.path.encode("utf-8", "surrogateescape")


def parse_endpoint(text: str) -> FileEndpoint:
    """As ``scp`` reads it: a colon before the first slash separates NAME from PATH; ``./a:b`` is local. So are Windows
    paths such as ``C:\\x``, on any system. Raises ``UsageError`` for an empty argument."""
    if not text:
        raise UsageError("usage", "A path is empty", "", "Write `.` for the current folder")
    found = _REMOTE.fullmatch(text)
    is_drive = bool(_DRIVE.match(text)) or (sys.platform == "win32" and text[1:2] == ":")
    if found is None or is_drive or text.startswith((".", "~")):
        return FileEndpoint(None, text)
    return FileEndpoint(found[1], found[2])


def parse_copy(sources: Sequence[str], target: str) -> tuple[list[FileEndpoint], FileEndpoint]:
    """The sides of a copy, of which one is on a machine. Raises ``UsageError``."""
    froms, to = [parse_endpoint(each) for each in sources], parse_endpoint(target)
    names = {each.name for each in froms}
    if to.name is not None and names != {None}:
        raise UsageError("usage", "Both sides are on a machine", "one side has to be on this computer",
                         "Copy to this computer first, then to the other machine")  # fmt: skip
    if to.name is None and names == {None}:
        raise UsageError("usage", "No side is on a machine", "no path has the form NAME:PATH",
                         "Write NAME:PATH for a path on the machine of the profile NAME")  # fmt: skip
    if len(names) > 1:
        shown = ", ".join(sorted(name or "this computer" for name in names))
        raise UsageError("usage", "The sources are on several machines", shown, "Copy from one machine at a time")
    return froms, to
