"""A new key pair, in the place and the format in which gcloud and OpenSSH find and read it."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from pathlib import Path

from ...core.errors import SshError
from ..files.known_hosts import format_public_key
from ..files.paths import local_username
from .key_files import public_half, read_key_file


def ensure_key_pair(path: Path) -> None:
    """``path`` (0600) and ``path.pub``: what is there stays, what is missing is made. ED25519, in OpenSSH's format,
    without a passphrase, as gcloud makes its own where nobody is asked. Raises ``SshError`` ``no-usable-key``."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _write_new(path, _new_private_key(), 0o600)
        public = path.with_name(path.name + ".pub")
        if not public.exists() and (blob := public_half(path, read_key_file(path))):
            _write_new(public, f"{format_public_key(blob)} {_comment()}\n".encode(), 0o644)
    except OSError as error:
        raise SshError("no-usable-key", f"The key {path} cannot be made", error.strerror or str(error)) from error


def _new_private_key() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Appears whole, and never in the place of another: two runtimes may come up at the same time."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        aside.chmod(mode)
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _comment() -> str:
    name = local_username()
    return f"{name}@{socket.gethostname()}" if name else "remote-runtime"
