"""How a server begins (RFC 4253 4.2): lines for a person, if any, then its version."""

from __future__ import annotations

import time
from typing import Any

import paramiko

from ..untrusted import clean_line

# As OpenSSH's client has them; what is kept of it is much less.
_MOST_LINES = 1024
_LONGEST_LINE = 8192
_LINES_KEPT = 3
_LINE_KEPT = 200


class Said:
    """The first lines of what a server says to a person: before its version, and in banners of its login. ``str`` is
    fit to be shown, and empty where it said nothing."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, text: bytes) -> None:
        for line in as_text(text[:_LONGEST_LINE]).splitlines():
            if len(self._lines) < _LINES_KEPT and (clean := clean_line(line, _LINE_KEPT)):
                self._lines.append(clean)

    def __str__(self) -> str:
        return " / ".join(self._lines)

    def after(self, why: str) -> str:
        """``why``, and the server's own words for it."""
        return f"{why}; it says: {self}" if self._lines else why


def as_text(said: bytes) -> str:
    """UTF-8, or, where it is not that, Latin-1, which every byte is."""
    try:
        return said.decode("utf-8")
    except UnicodeDecodeError:
        return said.decode("latin-1")


def read_version(transport: Any, said: Said) -> None:
    """In place of paramiko's ``_check_banner``, whose bounds are 15 s, 2 s a line, 100 lines and UTF-8: the server's
    line that begins with ``SSH-``, within the transport's ``banner_timeout``. What comes before it goes to ``said``.

    Raises ``EOFError``, ``OSError`` (``TimeoutError`` after that time) or ``paramiko.SSHException``.
    """
    packetizer, end = transport.packetizer, time.monotonic() + transport.banner_timeout
    rest = b""
    for _ in range(_MOST_LINES):
        while b"\n" not in rest:
            if len(rest) > _LONGEST_LINE:
                raise paramiko.SSHException("it sends a line without an end")
            try:
                rest += packetizer._read_timeout(max(0.0, end - time.monotonic()))
            except (EOFError, OSError):
                said.add(rest)  # half a line, which may be all that it says
                raise
        line, rest = rest.split(b"\n", 1)
        if line.startswith(b"SSH-"):
            packetizer._Packetizer__remainder = rest
            transport.remote_version = _version(line.removesuffix(b"\r"))
            return
        said.add(line)
    raise paramiko.SSHException("it sends lines without an end")


def _version(line: bytes) -> str:
    try:
        version = line.decode("utf-8")  # its bytes are a part of what the host key signs
    except UnicodeDecodeError:
        raise paramiko.SSHException("its version is not text") from None
    if not version.startswith(("SSH-2.0-", "SSH-1.99-")):
        raise paramiko.SSHException(f"it speaks {clean_line(version, 80)}, which is not SSH 2")
    return version
