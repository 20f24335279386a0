"""Private key files, their public halves and certificates; and a new key pair, as gcloud makes it."""

from __future__ import annotations

import base64
import contextlib
import copy
import io
import os
import re
import socket
import stat
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...core.errors import SshError
from ...core.fast_dataclass import fast_dataclass
from ...core.sanitize import clean_line
from ...core.shell_command import shell_command
from ..files.known_hosts import format_public_key, key_type, read_strings
from ..files.paths import local_username

if TYPE_CHECKING:
    import paramiko

_MAX_KEY_FILE_BYTES = 1 << 20
_OPENSSH_HEADER = "-----BEGIN OPENSSH PRIVATE KEY-----"
# Of encrypted keys in OpenSSH's format and in the older one (RFC 1421): those that cryptography knows.
_CIPHERS = (
    *("", "none", "aes256-ctr", "aes256-cbc", "aes256-gcm@openssh.com"),
    *("DES-EDE3-CBC", "AES-128-CBC", "AES-192-CBC", "AES-256-CBC"),
)
# OpenSSH's client finds one among other blocks and text, unless it is in the format above.
_PEM_BLOCK = re.compile(
    r"^-----BEGIN ([A-Z]+ )?PRIVATE KEY-----.*?^-----END \1?PRIVATE KEY-----", re.MULTILINE | re.DOTALL
)
_DEK_INFO = re.compile(r"^DEK-Info: *([^,\s]+)", re.MULTILINE)


@fast_dataclass(frozen=True)
class KeyFault:
    """Why a key file cannot be used, and what can be done."""

    why: str
    hint: str = ""


def load_key(path: Path, passphrase: str | None) -> paramiko.PKey | Literal["locked"] | KeyFault:
    """The key without its certificate, which ``certified`` adds. ``locked``: not by this passphrase."""
    try:
        text = _private_text(path)
    except OSError as error:
        return KeyFault(f"it can't be read: {(error.strerror or str(error)).lower()}")
    if fault := _find_fault(path, text):
        return fault
    locked = _is_locked(text)
    if locked and not passphrase:
        return "locked"
    try:
        return _parsed(text, passphrase if locked else None)
    except _UnsupportedKeyType as error:
        return KeyFault(f"its type {error} is not supported: only ED25519, ECDSA and RSA keys are", _NEW_KEY)
    except Exception as error:  # noqa: BLE001  # cryptography raises many kinds for damaged data
        why = clean_line(str(error), 200)
        if locked and "unknown" in why.lower():  # PKCS#8 has its cipher behind much ASN.1
            return _unsupported_encryption(path, f"({why.rstrip('.')})")
        return "locked" if locked else KeyFault(f"it is damaged: {why}")


def others_can_read(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return bool(_mode(path) & 0o044)
    return False


def certificate_of(path: Path) -> bytes:
    """OpenSSH's certificate beside a key (``KEY-cert.pub``), empty if there is none."""
    return read_certificate(path.with_name(path.name + "-cert.pub"))


def read_certificate(path: Path) -> bytes:
    """Empty if the file holds no certificate."""
    text = read_key_file(path)
    return parse_public_key(text) if "-cert-v01@openssh.com " in text else b""


def certified(key: paramiko.PKey, certificate: bytes) -> paramiko.PKey:
    """A copy of ``key`` that is offered as ``certificate``: a machine may accept only the one or the other."""
    import paramiko

    # An agent's key forwards attributes to another object, which a copy does not have yet when it is made.
    agents: Any = key if isinstance(key, paramiko.AgentKey) else None
    shown = paramiko.AgentKey(agents.agent, agents.blob, agents.comment) if agents else copy.copy(key)
    certify(shown, certificate)
    return shown


def certify(key: paramiko.PKey, certificate: bytes) -> None:
    import paramiko
    from paramiko.pkey import PublicBlob

    key.public_blob = PublicBlob(paramiko.Message(certificate).get_text(), certificate)


def read_key_file(path: Path) -> str:
    """Empty if it cannot be read."""
    try:
        return _private_text(path)
    except OSError:
        return ""


def public_half(path: Path, private_text: str) -> bytes:
    """From ``path.pub``, else from OpenSSH's private format, where it is not encrypted."""
    return parse_public_key(read_key_file(path.with_name(path.name + ".pub"))) or _parse_openssh_header(private_text)[2]


def parse_public_key(text: str) -> bytes:
    try:
        return base64.b64decode(text.split()[1])
    except (ValueError, IndexError):
        return b""


def rsa_bits(blob: bytes) -> int:
    """The size of a plain RSA key (RFC 4253 6.6), 0 for other keys."""
    import paramiko

    message = paramiko.Message(blob)
    return message.get_mpint().bit_length() if message.get_text() == "ssh-rsa" and message.get_mpint() else 0


_NEW_KEY = "`ssh-keygen -t ed25519` makes a key that works everywhere"


class _UnsupportedKeyType(Exception):
    """Its text names the type."""


def _private_text(path: Path) -> str:
    """Raises ``OSError``."""
    if path.exists() and not path.is_file():
        raise OSError("it is no file")
    with path.open("rb") as file:
        text = file.read(_MAX_KEY_FILE_BYTES).decode("ascii", "replace").strip()
    block = None if text.startswith(("-----BEGIN OPENSSH", "PuTTY-User-Key-File")) else _PEM_BLOCK.search(text)
    return block[0] if block else text


def _find_fault(path: Path, text: str) -> KeyFault | None:
    """A fault that shows before the prompt for a passphrase."""
    name, mode = str(path), _mode(path)
    if mode & 0o022:
        return KeyFault(f"other users can write to it (mode {mode:04o})", f"Run {shell_command('chmod', '600', name)}")
    if text.startswith("PuTTY-User-Key-File"):
        return KeyFault("it is in PuTTY's format", _convert_hint(name, str(path.with_suffix(".openssh"))))
    if text.startswith("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY"):
        return KeyFault("it is in the format of ssh.com", _convert_hint(name, f"{path}.openssh"))
    if not text:
        return KeyFault("it is empty")
    if not text.startswith("-----BEGIN ") or "PRIVATE KEY-----" not in text.split("\n")[0]:
        return KeyFault("it has no private key")
    cipher, kdf, public = _parse_openssh_header(text)
    if found := _DEK_INFO.search(text):
        cipher = found[1]
    kind = key_type(public)
    if kind.startswith("sk-"):
        return KeyFault(
            f"its private half is on a FIDO token ({kind})", f"Add it to an agent: {shell_command('ssh-add', name)}"
        )
    if kdf not in ("", "none", "bcrypt") or cipher not in _CIPHERS:
        return _unsupported_encryption(path, f"with {clean_line(cipher, 60)}")
    return None


def _unsupported_encryption(path: Path, how: str) -> KeyFault:
    why = f"it is encrypted {how}, which is not supported"
    return KeyFault(why, f"Run {shell_command('ssh-keygen', '-p', '-Z', 'aes256-ctr', '-f', str(path))}")


def _convert_hint(name: str, converted: str) -> str:
    command = shell_command("puttygen", name, "-O", "private-openssh", "-o", converted)
    return f"Run {command}, and set `ssh.identity_file` to the new file"


def _is_locked(text: str) -> bool:
    if text.startswith(_OPENSSH_HEADER):
        return _parse_openssh_header(text)[0] not in ("", "none")
    return text.startswith("-----BEGIN ENCRYPTED ") or "Proc-Type: 4,ENCRYPTED" in text


def _parsed(text: str, passphrase: str | None) -> paramiko.PKey:
    """Converted to OpenSSH's own format first: paramiko reads no PKCS#8. Raises what cryptography raises."""
    import paramiko
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    load = form.load_ssh_private_key if text.startswith(_OPENSSH_HEADER) else form.load_pem_private_key
    key = load(text.encode(), passphrase.encode() if passphrase else None)
    kinds: dict[type, Any] = {
        ed25519.Ed25519PrivateKey: paramiko.Ed25519Key,
        ec.EllipticCurvePrivateKey: paramiko.ECDSAKey,
        rsa.RSAPrivateKey: paramiko.RSAKey,
    }
    kind = next((ours for theirs, ours in kinds.items() if isinstance(key, theirs)), None)
    if kind is None:
        raise _UnsupportedKeyType(type(key).__name__.removesuffix("PrivateKey").lstrip("_"))
    try:
        plain = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _UnsupportedKeyType(getattr(getattr(key, "curve", None), "name", type(key).__name__)) from error
    loaded: paramiko.PKey = kind.from_private_key(io.StringIO(plain.decode()))
    return loaded


def _parse_openssh_header(text: str) -> tuple[str, str, bytes]:
    """Cipher, kdf and the first public key, which are not encrypted (PROTOCOL.key of OpenSSH). Empty for another
    format."""
    magic = b"openssh-key-v1\0"
    try:
        raw = base64.b64decode("".join(text.splitlines()[1:-1]))
        if not text.startswith(_OPENSSH_HEADER) or not raw.startswith(magic):
            return "", "", b""
        cipher, kdf, _, public = read_strings(raw, len(magic), (0, 0, 0, 4))
    except ValueError:
        return "", "", b""
    return cipher.decode("ascii", "replace"), kdf.decode("ascii", "replace"), public


def _mode(path: Path) -> int:
    """Of a file of this user's; 0 for others, which OpenSSH does not check either. Raises ``OSError``."""
    if sys.platform == "win32":
        return 0
    found = path.stat()
    return stat.S_IMODE(found.st_mode) if found.st_uid == os.getuid() else 0


def ensure_key_pair(path: Path) -> None:
    """Makes ``path`` (0600) and ``path.pub`` where they are missing: ED25519, in OpenSSH's format, no passphrase, as
    gcloud does without a terminal. Raises ``SshError`` ``no-usable-key``."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _write_new(path, _new_private_key(), 0o600)
        public = path.with_name(path.name + ".pub")
        if not public.exists() and (blob := public_half(path, read_key_file(path))):
            _write_new(public, f"{format_public_key(blob)} {_comment()}\n".encode(), 0o644)
    except OSError as error:
        raise SshError("no-usable-key", f"Can't create the key {path}", error.strerror or str(error)) from error


def _new_private_key() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """The file appears whole, and replaces no other: two runtimes may come up at the same time."""
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
