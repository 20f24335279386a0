"""Text of a server: lines before its version (RFC 4253 4.2), banners, and the options of the key in authorized_keys.

OpenSSH's server sends these in a debug message after the login: ``FILE:LINE: key options: agent-forwarding
port-forwarding pty …`` lists what is allowed, and ``command`` and ``permitopen`` if they are set (``auth_log_authopts``
of OpenSSH 7.7 and newer). Other servers send nothing.
"""

from __future__ import annotations

import re
import time
from typing import Any

from ...core.fast_dataclass import fast_dataclass
from ...core.sanitize import clean, clean_line, redact

# The limits of OpenSSH's client; much less is kept.
_MAX_LINES = 1024
_MAX_LINE_BYTES = 8192
_MAX_TEXT_BYTES = 16 << 10
_MAX_LINES_SHOWN = 3
_MAX_LINE_CHARS = 200
_DEBUG_MESSAGE = re.compile(r"(.+:\d+): key options:([a-z0-9 -]*)")


class ServerText:
    """Text of a server for a person: before its version, and in banners of the login. ``str``: the last lines,
    sanitized; a reason comes after the general banner. ``partial_line``: a line that has not ended yet."""

    def __init__(self) -> None:
        self.first_line = ""
        self.partial_line = b""
        self._text = ""

    def add(self, text: bytes) -> None:
        said = decode_text(text[:_MAX_TEXT_BYTES])
        self.first_line = self.first_line or clean_line(redact(said.strip().split("\n")[0]), _MAX_LINE_CHARS)
        self._text = f"{self._text}{said}\n"[-_MAX_TEXT_BYTES:]

    def __str__(self) -> str:
        return last_lines(self._text + decode_text(self.partial_line))

    def append_to(self, why: str) -> str:
        """``why``, followed by the text, if there is any."""
        said = str(self)
        return f"{why}; it says: {said}" if said else why


def last_lines(text: str) -> str:
    """Those with letters or digits, sanitized and without secrets."""
    lines = (clean_line(line, _MAX_LINE_CHARS) for line in clean(redact(text), _MAX_TEXT_BYTES).splitlines())
    return " / ".join([line for line in lines if any(map(str.isalnum, line))][-_MAX_LINES_SHOWN:])


def decode_text(said: bytes) -> str:
    """By UTF-8, else by Latin-1, which never fails."""
    try:
        return said.decode("utf-8")
    except UnicodeDecodeError:
        return said.decode("latin-1")


def read_version(transport: Any, server_text: ServerText) -> None:
    """Sets ``remote_version`` within the transport's ``banner_timeout``; the lines before it go to ``server_text``.
    Replaces paramiko's ``_check_banner``, whose limits are 15 s, 2 s a line, 100 lines and UTF-8.

    Raises ``EOFError``, ``OSError`` (``TimeoutError`` after that time) or ``paramiko.SSHException``.
    """
    from paramiko import SSHException  # late: `down` uses this module without paramiko

    packetizer, end = transport.packetizer, time.monotonic() + transport.banner_timeout
    rest = b""
    for _ in range(_MAX_LINES):
        while b"\n" not in rest:
            if len(rest) > _MAX_LINE_BYTES:
                raise SSHException("it sends a line without an end")
            try:
                rest += packetizer._read_timeout(max(0.0, end - time.monotonic()))
            finally:
                server_text.partial_line = rest[:_MAX_LINE_BYTES]  # which may be all that it sends
        line, rest = rest.split(b"\n", 1)
        server_text.partial_line = b""
        if line.startswith(b"SSH-"):
            packetizer._Packetizer__remainder = rest
            transport.remote_version = _version(line.removesuffix(b"\r"))
            return
        server_text.add(line)
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
