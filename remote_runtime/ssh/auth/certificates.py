"""OpenSSH's certificates (PROTOCOL.certkeys of OpenSSH): who signed one, for which key, and whether it is valid."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from ...core.sanitize import clean_line
from ..files.known_hosts import HostKey, format_public_key, key_type, read_strings

if TYPE_CHECKING:
    import paramiko


class Certificate:
    """``blob``: as a server presents it, its key verified by the key exchange, or as a file beside a key holds it.
    ``authority``: the key that signed it, None if it cannot be read."""

    def __init__(self, blob: bytes) -> None:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization

        self.authority: HostKey | None = None
        self._key = self._parse_error = ""
        try:
            parsed = serialization.load_ssh_public_identity(format_public_key(blob).encode())
            if not isinstance(parsed, serialization.SSHCertificate):
                raise ValueError("it is a plain key")
            openssh = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
            self._key = parsed.public_key().public_bytes(*openssh).decode()
            signer = parsed.signature_key().public_bytes(*openssh).decode()
        except (ValueError, UnsupportedAlgorithm) as error:
            self._parse_error = f"can't be read: {clean_line(str(error), 200)}"
            return
        self._blob, self._parsed = blob, parsed
        self.authority = HostKey(*signer.split()[:2])

    def is_for(self, key: bytes) -> bool:
        """Whether it certifies this public key."""
        return bool(key) and self._key == format_public_key(key)

    def validity_error(self, now: float) -> str:
        """Why it is not valid at ``now`` (seconds since 1970); empty if it is."""
        if self._parse_error:
            return self._parse_error
        if now < self._parsed.valid_after:
            return f"is not valid before {_date(self._parsed.valid_after)}"
        if now >= self._parsed.valid_before:
            return f"expired on {_date(self._parsed.valid_before)}"
        return ""

    def host_fault(self, host: str, now: float, signatures: Collection[str] = ()) -> str:
        """Why a host certificate is not valid for ``host`` (a name without its port) at ``now``; empty if it is.
        ``signatures``: the algorithms that ~/.ssh/config allows, if it names any."""
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import SSHCertificateType

        if invalid := self.validity_error(now):
            return invalid
        if self._parsed.type is not SSHCertificateType.HOST:
            return "is a user's certificate"
        if self._parsed.critical_options:
            return "has critical options that are not known"
        names = [name.decode("utf-8", "replace") for name in self._parsed.valid_principals]
        if names and host.lower() not in names:
            return f"is for {clean_line(', '.join(names), 200)}, not for {host}"
        if signatures and (algorithm := _signature_algorithm(self._blob)) not in signatures:
            return f"is signed by {algorithm}, which CASignatureAlgorithms of ~/.ssh/config does not have"
        try:
            self._parsed.verify_cert_signature()
        except (InvalidSignature, UnsupportedAlgorithm, ValueError) as error:
            return f"has a signature that can't be verified: {clean_line(str(error), 200) or 'it is wrong'}"
        return ""


def presented_certificate(key: paramiko.PKey) -> bytes:
    """The certificate that a server presented, empty where it presented a plain key."""
    return bytes(key.public_blob.key_blob) if key.public_blob else b""


def _signature_algorithm(blob: bytes) -> str:
    """Of its last field, the signature, which begins with its type like a key."""
    key_fields = 1 if key_type(blob).startswith("ssh-ed25519") else 2
    # Type, nonce, key; serial, kind; id, principals; two dates; options, extensions, reserved, authority, signature.
    return key_type(read_strings(blob, 0, (*[0] * (2 + key_fields), 12, 0, 16, 0, 0, 0, 0))[-1])


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(min(seconds, 253402300799), timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
