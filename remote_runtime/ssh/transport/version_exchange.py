"""How a server begins (RFC 4253 4.2): lines for a person, if any, then its version."""

from __future__ import annotations

import time
from typing import Any

from ...core.sanitize import clean, clean_line, redacted

# As OpenSSH's client has them; what is kept of it is much less.
_MOST_LINES = 1024
_LONGEST_LINE = 8192
_KEPT = 16 << 10
_LINES_SHOWN = 3
_LINE_SHOWN = 200


class Said:
    """What a server says to a person: before its version, and in banners of its login. ``str`` is fit to be shown: the
    last lines, since a reason comes after the banner that everybody gets; empty where it said nothing. ``first``: the
    first line. ``half``: of a line that has not ended yet."""

    def __init__(self) -> None:
        self.first = ""
        self.half = b""
        self._text = ""

    def add(self, text: bytes) -> None:
        said = as_text(text[:_KEPT])
        self.first = self.first or clean_line(redacted(said.strip().split("\n")[0]), _LINE_SHOWN)
        self._text = f"{self._text}{said}\n"[-_KEPT:]

    def __str__(self) -> str:
        return last_lines(self._text + as_text(self.half))

    def after(self, why: str) -> str:
        """``why``, and the server's own words for it."""
        said = str(self)
        return f"{why}; it says: {said}" if said else why


def last_lines(text: str) -> str:
    """Those with words in them, without secrets, fit to be shown."""
    lines = (clean_line(line, _LINE_SHOWN) for line in clean(redacted(text), _KEPT).splitlines())
    return " / ".join([line for line in lines if any(map(str.isalnum, line))][-_LINES_SHOWN:])


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
    from paramiko import SSHException  # what only cleans words, as `down` does, is quick without it

    packetizer, end = transport.packetizer, time.monotonic() + transport.banner_timeout
    rest = b""
    for _ in range(_MOST_LINES):
        while b"\n" not in rest:
            if len(rest) > _LONGEST_LINE:
                raise SSHException("it sends a line without an end")
            try:
                rest += packetizer._read_timeout(max(0.0, end - time.monotonic()))
            finally:
                said.half = rest[:_LONGEST_LINE]  # which may be all that it says
        line, rest = rest.split(b"\n", 1)
        said.half = b""
        if line.startswith(b"SSH-"):
            packetizer._Packetizer__remainder = rest
            transport.remote_version = _version(line.removesuffix(b"\r"))
            return
        said.add(line)
    raise SSHException("it sends lines without an end")


def _version(line: bytes) -> str:
    from paramiko import SSHException

    try:
        version = line.decode("utf-8")  # its bytes are a part of what the host key signs
    except UnicodeDecodeError:
        raise SSHException("its version is not text") from None
    if not version.startswith(("SSH-2.0-", "SSH-1.99-")):
        raise SSHException(f"it speaks {clean_line(version, 80)}, which is not SSH 2")
    return version
