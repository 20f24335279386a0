"""Files in OpenSSH's known_hosts format (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"), read only."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..values import dataclass


@dataclass(frozen=True)
class HostKey:
    """``kind``: ``ssh-ed25519`` and so on; ``data``: its base64 form."""

    kind: str
    data: str

    @property
    def fingerprint(self) -> str:
        """``SHA256:…`` as OpenSSH writes it."""
        digest = hashlib.sha256(base64.b64decode(self.data)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@dataclass(frozen=True)
class Known:
    """What one source says of a name. ``where``: shown to the person."""

    where: str
    keys: tuple[HostKey, ...] = ()
    revoked: tuple[HostKey, ...] = ()


def read(path: Path, name: str, where: str) -> Known:
    keys: list[HostKey] = []
    revoked: list[HostKey] = []
    for line in lines_of(path):
        marker, _, rest = line.partition(" ") if line.startswith("@") else ("", "", line)
        names, *fields = rest.split()
        if not _matches(names, name):
            continue
        # A @cert-authority vouches for certificates, which we do not ask a machine for.
        target = {"": keys, "@revoked": revoked}.get(marker)
        if target is not None:
            target.extend(parse_keys([" ".join(fields)]))
    return Known(where, tuple(keys), tuple(revoked))


def merged(sources: Sequence[Known]) -> Known:
    """The user's files count as one, as OpenSSH sees them."""
    keys = tuple(key for source in sources for key in source.keys)
    revoked = tuple(key for source in sources for key in source.revoked)
    where = " and ".join(source.where for source in sources if source.keys or source.revoked)
    return Known(where, keys, revoked)


def lines_of(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if len(line.split()) >= 3 and not line.startswith("#")]


def parse_keys(lines: Iterable[str]) -> list[HostKey]:
    keys = []
    for fields in (line.split() for line in lines):
        if len(fields) < 2:
            continue
        try:
            raw = base64.b64decode(fields[1], validate=True)
        except ValueError:  # no base64, or no ASCII
            continue
        if raw[4 : 4 + len(fields[0])] == fields[0].encode():
            keys.append(HostKey(fields[0], base64.b64encode(raw).decode()))
    return keys


def as_line(blob: bytes) -> str:
    """``TYPE BASE64`` of a public key, which begins with its type (RFC 4253 6.6)."""
    size = int.from_bytes(blob[:4], "big")
    return f"{blob[4 : 4 + size].decode('ascii', 'replace')} {base64.b64encode(blob).decode()}"


def _matches(names: str, name: str) -> bool:
    """The comma-separated patterns or the hashed name of an entry; a negated match wins."""
    if names.startswith("|1|"):
        try:
            salt, digest = (base64.b64decode(part) for part in names.split("|")[2:4])
        except ValueError:
            return False
        return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)
    found = False
    for pattern in names.lower().split(","):
        negated = pattern.startswith("!")
        if fnmatch.fnmatchcase(name.lower(), _literal_brackets(pattern.lstrip("!"))):
            if negated:
                return False
            found = True
    return found


def _literal_brackets(pattern: str) -> str:
    """OpenSSH knows only ``*`` and ``?``; brackets stand for themselves (``[host]:port``)."""
    return pattern.replace("[", "[[]")
