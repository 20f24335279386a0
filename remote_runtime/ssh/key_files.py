"""Private key files and their public halves."""

from __future__ import annotations

import base64
import copy
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import paramiko

_LARGEST_KEY_FILE = 1 << 20


def load_key(path: Path, passphrase: str | None) -> paramiko.PKey | Literal["locked", "unusable"]:
    """Without its certificate: ``certified`` adds that."""
    import paramiko

    kinds: tuple[type[paramiko.PKey], ...] = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
    for kind in kinds:
        try:
            key = kind.from_private_key_file(str(path), passphrase)
        except paramiko.PasswordRequiredException:
            return "locked"
        except Exception:  # noqa: BLE001, S112  # cryptography raises many kinds for a file of another type
            continue
        return key
    return "unusable"


def certificate_of(path: Path) -> bytes:
    """OpenSSH's certificate beside a key (``KEY-cert.pub``), empty if there is none."""
    text = read_key_file(path.with_name(path.name + "-cert.pub"))
    return parse_public(text) if "-cert-v01@openssh.com " in text else b""


def certified(key: paramiko.PKey, certificate: bytes) -> paramiko.PKey:
    """``key``, shown as ``certificate``. The key alone may still be what a machine accepts, so it stays as it is."""
    shown = copy.copy(key)
    certify(shown, certificate)
    return shown


def certify(key: paramiko.PKey, certificate: bytes) -> None:
    import paramiko
    from paramiko.pkey import PublicBlob

    key.public_blob = PublicBlob(paramiko.Message(certificate).get_text(), certificate)


def read_key_file(path: Path) -> str:
    """Empty if it is no file that can be read."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_KEY_FILE:
            return ""
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def public_half(path: Path, private_text: str) -> bytes:
    """From ``path.pub``, else from OpenSSH's private format, which holds it unencrypted."""
    blob = parse_public(read_key_file(path.with_name(path.name + ".pub")))
    if blob:
        return blob
    try:
        return _first_public_key(base64.b64decode("".join(private_text.splitlines()[1:-1])))
    except ValueError:
        return b""


def parse_public(text: str) -> bytes:
    try:
        return base64.b64decode(text.split()[1])
    except (ValueError, IndexError):
        return b""


def _first_public_key(raw: bytes) -> bytes:
    """Of "openssh-key-v1" data: cipher, kdf, kdf options, number of keys, public key (PROTOCOL.key of OpenSSH)."""
    magic = b"openssh-key-v1\0"
    if not raw.startswith(magic):
        return b""
    try:
        place = len(magic)
        for _ in range(3):
            place += 4 + int(struct.unpack_from(">I", raw, place)[0])
        place += 4
        size = int(struct.unpack_from(">I", raw, place)[0])
    except struct.error:
        return b""
    return raw[place + 4 : place + 4 + size]
