"""OpenSSH's certificates (PROTOCOL.certkeys of OpenSSH): who signed one, for which key, and whether it is good."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from ...core.sanitize import clean_line
from ..files.known_hosts import HostKey, as_line

if TYPE_CHECKING:
    import paramiko


class Certificate:
    """``blob``: as a server shows it, its key proven by the key exchange, or as a file beside a key has it.
    ``authority``: who signed it, None if it cannot be read."""

    def __init__(self, blob: bytes) -> None:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization

        self.authority: HostKey | None = None
        self._key = self._trouble = ""
        try:
            parsed = serialization.load_ssh_public_identity(as_line(blob).encode())
            if not isinstance(parsed, serialization.SSHCertificate):
                raise ValueError("it is a plain key")
            openssh = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
            self._key = parsed.public_key().public_bytes(*openssh).decode()
            signer = parsed.signature_key().public_bytes(*openssh).decode()
        except (ValueError, UnsupportedAlgorithm) as error:
            self._trouble = f"cannot be read: {clean_line(str(error), 200)}"
            return
        self._blob, self._parsed = blob, parsed
        self.authority = HostKey(*signer.split()[:2])

    def is_for(self, key: bytes) -> bool:
        """Whether it certifies this public key."""
        return bool(key) and self._key == as_line(key)

    def untimely(self, now: float) -> str:
        """Why it is not valid at ``now`` (seconds since 1970); empty if it is."""
        if self._trouble:
            return self._trouble
        if now < self._parsed.valid_after:
            return f"is not valid before {_date(self._parsed.valid_after)}"
        if now >= self._parsed.valid_before:
            return f"expired on {_date(self._parsed.valid_before)}"
        return ""

    def fault(self, host: str, now: float, signatures: Collection[str] = ()) -> str:
        """Why a host's is not good for ``host`` (a name without its port) at ``now``; empty if it is. ``signatures``:
        the algorithms that ~/.ssh/config allows, if it names any."""
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import SSHCertificateType

        if untimely := self.untimely(now):
            return untimely
        if self._parsed.type is not SSHCertificateType.HOST:
            return "is a user's certificate"
        if self._parsed.critical_options:
            return "has critical options that are not known"
        names = [name.decode("utf-8", "replace") for name in self._parsed.valid_principals]
        if names and host.lower() not in names:
            return f"is for {clean_line(', '.join(names), 200)}, not for {host}"
        if signatures and (algorithm := _signed_by(self._blob)) not in signatures:
            return f"is signed by {algorithm}, which CASignatureAlgorithms of ~/.ssh/config does not have"
        try:
            self._parsed.verify_cert_signature()
        except (InvalidSignature, UnsupportedAlgorithm, ValueError) as error:
            return f"has a signature that cannot be verified: {clean_line(str(error), 200) or 'it is wrong'}"
        return ""


def shown_in(key: paramiko.PKey) -> bytes:
    """The certificate that a server showed its key in, empty where that was the plain key."""
    return bytes(key.public_blob.key_blob) if key.public_blob else b""


def _signed_by(blob: bytes) -> str:
    """The algorithm of its signature, which is its last field and begins with that."""
    place, fields = 0, []
    key_fields = 1 if as_line(blob).startswith("ssh-ed25519") else 2
    # Type, nonce, key; serial, kind; id, principals; two dates; options, extensions, reserved, authority, signature.
    for skipped in (*[0] * (2 + key_fields), 12, 0, 16, 0, 0, 0, 0):
        place += skipped
        size = int.from_bytes(blob[place : place + 4], "big")
        fields.append(blob[place + 4 : place + 4 + size])
        place += 4 + size
    size = int.from_bytes(fields[-1][:4], "big")
    return fields[-1][4 : 4 + size].decode("ascii", "replace")


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(min(seconds, 253402300799), timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
