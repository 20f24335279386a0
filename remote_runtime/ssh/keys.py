"""The user's private keys: from the agent and from files, unlocked once and kept in memory only."""

from __future__ import annotations

import base64
import binascii
import contextlib
import socket
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SshError
from ..model import Ask, SshSettings
from .pins import expand

if TYPE_CHECKING:
    import paramiko

_USUAL_FILES = ("~/.ssh/google_compute_engine", "~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
_LARGEST_KEY_FILE = 1 << 20
_AGENT_S = 30.0  # an agent may ask its user for consent
_PASSPHRASE_TRIES = 3


@dataclass(frozen=True)
class Candidate:
    """A key worth offering. ``blob``: its public half, empty if unknown. ``key``: None while it is locked."""

    label: str
    blob: bytes
    key: paramiko.PKey | None
    path: Path | None = None


class Keys:
    """Remembers what was unlocked, so that a reconnect asks nothing; close it to let the agent go."""

    def __init__(self) -> None:
        self._unlocked: dict[Path, paramiko.PKey] = {}
        self._agent: Any = None

    def candidates(self, settings: SshSettings, environ: Mapping[str, str]) -> list[Candidate]:
        """The agent's keys, the profile's file, ~/.ssh/config's, the usual files; locked ones last, so that nobody is
        asked for a passphrase that is not needed."""
        home = home_of(environ)
        asked_for = [settings.identity_file] if settings.identity_file else []
        asked_for += settings.identity_files
        names = asked_for if settings.identities_only and asked_for else [*asked_for, *_USUAL_FILES]
        files = [found for name in dict.fromkeys(names) if (found := self._from_file(name, home)) is not None]
        if settings.identity_file and not expand(settings.identity_file, home).is_file():
            raise SshError(
                "no-usable-key", f"The key file {settings.identity_file} cannot be read", hint="`ssh.identity_file`"
            )
        from_agent = self._from_agent(settings, environ)
        wanted = [file.blob for file in files[: len(asked_for)]]
        from_agent.sort(key=lambda candidate: candidate.blob not in wanted)
        if settings.identities_only:
            blobs = [file.blob for file in files]
            from_agent = [candidate for candidate in from_agent if candidate.blob in blobs]
        found_keys = {candidate.blob or candidate.label.encode(): candidate for candidate in reversed(files)}
        found_keys.update({candidate.blob: candidate for candidate in from_agent})
        ordered = [found_keys.pop(each.blob or each.label.encode(), None) for each in [*from_agent, *files]]
        return sorted((each for each in ordered if each is not None), key=lambda candidate: candidate.key is None)

    def unlock(self, candidate: Candidate, ask: Ask) -> paramiko.PKey:
        """Asks for the passphrase, three times at most. Raises ``SshError`` ``passphrase-needed``."""
        assert candidate.path is not None  # noqa: S101  # only files are locked
        prompt = f"Passphrase for {candidate.label}"
        for _ in range(_PASSPHRASE_TRIES):
            key = _load(candidate.path, candidate.blob, ask(prompt, secret=True, code="passphrase-needed"))
            if key is not None:
                self._unlocked[candidate.path] = key
                return key
            prompt = f"That is not the passphrase. Passphrase for {candidate.label}"
        raise SshError("passphrase-needed", f"The key {candidate.label} stays locked", "three wrong passphrases")

    def close(self) -> None:
        agent, self._agent = self._agent, None
        if agent is not None:
            agent._close()

    def _from_file(self, name: str, home: Path) -> Candidate | None:
        path = expand(name.replace("%d", str(home)).replace("%%", "%"), home)
        try:
            if not path.is_file() or path.stat().st_size > _LARGEST_KEY_FILE:
                return None
            text = path.read_text(encoding="ascii", errors="replace")
        except OSError:
            return None
        blob = _public_half(path, text)
        key = self._unlocked.get(path) or _load(path, blob, None)
        return Candidate(name, blob if key is None else _offered(key), key, path)

    def _from_agent(self, settings: SshSettings, environ: Mapping[str, str]) -> list[Candidate]:
        import paramiko

        self.close()
        # A dangling SSH_AUTH_SOCK is common and no reason to fail.
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._agent = _open_agent(settings, environ)
        if self._agent is None:
            return []
        labels = [f"agent key {key.comment or key.get_name()}" for key in self._agent.get_keys()]
        return [Candidate(label, key.asbytes(), key) for label, key in zip(labels, self._agent.get_keys(), strict=True)]


def home_of(environ: Mapping[str, str]) -> Path:
    home = environ.get("HOME") or environ.get("USERPROFILE")
    return Path(home) if home else Path.home()


def _open_agent(settings: SshSettings, environ: Mapping[str, str]) -> Any:
    import paramiko
    from paramiko.agent import AgentSSH

    name = settings.identity_agent or "SSH_AUTH_SOCK"
    if name == "none":
        return None
    if sys.platform == "win32":
        return paramiko.Agent()
    path = environ.get("SSH_AUTH_SOCK", "") if name == "SSH_AUTH_SOCK" else name
    path = environ.get(path[1:], "") if path.startswith("$") else path
    if not path:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_AGENT_S)
        connection.connect(str(expand(path, home_of(environ))))
        agent: Any = AgentSSH()
        agent._connect(connection)  # the public class reads this process's environment only
    except BaseException:
        connection.close()
        raise
    return agent


def _offered(key: paramiko.PKey) -> bytes:
    return bytes(key.asbytes())


def _load(path: Path, blob: bytes, passphrase: str | None) -> paramiko.PKey | None:
    """None if the key is locked, of a kind that paramiko does not know, or damaged."""
    import paramiko

    kinds: tuple[type[paramiko.PKey], ...] = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
    for kind in kinds:
        try:
            key = kind.from_private_key_file(str(path), passphrase)
        except paramiko.PasswordRequiredException:
            return None
        except Exception:  # noqa: BLE001, S112  # cryptography raises many kinds for a file of another type
            continue
        certificate = path.with_name(path.name + "-cert.pub")
        if certificate.is_file():
            with contextlib.suppress(ValueError, OSError, paramiko.SSHException):
                key.load_certificate(str(certificate))
        return key
    return None


def _public_half(path: Path, private_text: str) -> bytes:
    """From ``path.pub``, else from OpenSSH's private format, which holds it unencrypted."""
    try:
        return base64.b64decode(path.with_name(path.name + ".pub").read_text(encoding="utf-8").split()[1])
    except (OSError, ValueError, IndexError):
        pass
    lines = private_text.strip().splitlines()
    try:
        raw = base64.b64decode("".join(lines[1:-1]))
    except (binascii.Error, ValueError):
        return b""
    return _first_public_key(raw)


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
