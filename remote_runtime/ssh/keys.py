"""The user's private keys: from the agent and from files, unlocked once and kept in memory only."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import SshError
from ..protocols import Ask, Tell
from ..settings import SshSettings
from ..values import dataclass
from .key_files import certificate_of, certified, certify, load_key, parse_public, public_half, read_key_file
from .key_making import ensure_key_pair
from .known_hosts import as_line
from .places import expand, home_of

if TYPE_CHECKING:
    import paramiko

GCLOUDS_FILE = "~/.ssh/google_compute_engine"
_USUAL_FILES = (GCLOUDS_FILE, "~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
_AGENT_S = 30.0  # an agent may ask its user for consent
_PASSPHRASE_TRIES = 3


@dataclass(frozen=True)
class Candidate:
    """A key worth offering. ``blob``: its public half, empty if unknown. ``key``: None unless it is ``ready``.

    ``public``: only its public half is there, which tells which of the agent's keys is meant. ``unusable``: of a kind
    or in a format that paramiko does not know. ``certificate``: what is shown instead of the public half, if any."""

    label: str
    blob: bytes
    key: paramiko.PKey | None
    state: Literal["ready", "locked", "public", "unusable", "missing"] = "ready"
    path: Path | None = None
    certificate: bytes = b""

    @property
    def id(self) -> tuple[str, bytes]:
        return self.label, self.shown

    @property
    def shown(self) -> bytes:
        return self.certificate or self.blob


class Keys:
    """Remembers what was unlocked, so that a reconnect asks nothing; close it to let the agent go."""

    def __init__(self) -> None:
        self._unlocked: dict[Path, paramiko.PKey] = {}
        self._agent: Any = None

    def candidates(
        self, settings: SshSettings, environ: Mapping[str, str], wanted: Collection[bytes] = ()
    ) -> list[Candidate]:
        """The agent's keys, the profile's file, ~/.ssh/config's, the usual files, each after its certificate; those in
        ``wanted`` (public halves) before all others, and locked ones last, so that nobody is asked for a passphrase
        that is not needed. Raises ``SshError`` ``no-usable-key`` for a file that was asked for and cannot be used."""
        home = home_of(environ)
        asked_for = [settings.identity_file] if settings.identity_file else []
        asked_for += settings.identity_files
        names = asked_for if settings.identities_only and asked_for else [*asked_for, *_USUAL_FILES]
        found = [self._from_file(name, home) for name in dict.fromkeys(names)]
        if settings.identity_file and not (is_gclouds(settings.identity_file, home) and found[0].state == "missing"):
            _check_asked_for(found[0])
        preferred = [candidate.blob for candidate in found if candidate.label in asked_for]
        files = [candidate for candidate in found if candidate.state in ("ready", "locked")]
        from_agent = self._from_agent(settings, environ)
        from_agent.sort(key=lambda candidate: candidate.blob not in preferred)
        if settings.identities_only:
            blobs = [candidate.blob for candidate in found]
            from_agent = [candidate for candidate in from_agent if candidate.blob in blobs]
        known = {candidate.shown for candidate in from_agent}
        files = [each for file in files for each in _with_certificate(file) if not each.blob or each.shown not in known]
        return sorted(
            [*from_agent, *files], key=lambda candidate: (candidate.state == "locked", candidate.blob not in wanted)
        )

    def public(self, settings: SshSettings, environ: Mapping[str, str]) -> tuple[str, ...]:
        """``TYPE BASE64`` of each key that would be offered. Raises as ``candidates`` does."""
        blobs = [candidate.blob for candidate in self.candidates(settings, environ) if candidate.blob]
        return tuple(as_line(blob) for blob in dict.fromkeys(blobs))

    def to_add(self, settings: SshSettings, environ: Mapping[str, str], tell: Tell) -> str:
        """``TYPE BASE64`` of the key to put on a machine that accepts none: the profile's, else gcloud's, which is made
        if it is missing. Raises ``SshError`` ``no-usable-key``."""
        home = home_of(environ)
        name = settings.identity_file or GCLOUDS_FILE
        path = expand(name, home)
        candidate = self._from_file(name, home)
        if candidate.state == "missing" and is_gclouds(name, home):
            ensure_key_pair(path)
            tell(f"Made the key {name}, which gcloud uses too")
            candidate = self._from_file(name, home)
        _check_asked_for(candidate)
        if candidate.state == "public" and not _agent_has(candidate.blob, settings, environ):
            raise SshError("no-usable-key", f"The private key of {name} is missing", "only its public half is there")
        if not candidate.blob:
            raise SshError(
                "no-usable-key",
                f"The public half of {name} is not known",
                "the key is locked, in a format that hides it",
                f"`ssh-keygen -y -f {path} > {path}.pub`",
            )
        if is_gclouds(name, home) and candidate.state != "public":
            ensure_key_pair(path)  # gcloud calls a pair without its public half broken
        return as_line(candidate.blob)

    def unlock(self, candidate: Candidate, ask: Ask) -> paramiko.PKey:
        """Asks for the passphrase, three times at most. Raises ``SshError`` ``passphrase-needed``."""
        assert candidate.path is not None  # noqa: S101  # only files are locked
        if candidate.path in self._unlocked:  # a moment ago, for its certificate
            return self._unlocked[candidate.path]
        prompt = f"Passphrase for {candidate.label}"
        for _ in range(_PASSPHRASE_TRIES):
            key = load_key(candidate.path, ask(prompt, secret=True, code="passphrase-needed"))
            if not isinstance(key, str):
                self._unlocked[candidate.path] = key
                return certified(key, candidate.certificate) if candidate.certificate else key
            prompt = f"That is not the passphrase. Passphrase for {candidate.label}"
        raise SshError("passphrase-needed", f"The key {candidate.label} stays locked", "three wrong passphrases")

    def close(self) -> None:
        agent, self._agent = self._agent, None
        if agent is not None:
            agent._close()

    def _from_file(self, name: str, home: Path) -> Candidate:
        path = expand(name.replace("%d", str(home)).replace("%%", "%"), home)
        text = read_key_file(path)
        blob = public_half(path, text)
        if blob and not text:
            text = read_key_file(path)  # whoever makes a pair puts its private half there first
        if text.startswith(("ssh-", "ecdsa-", "sk-")):
            return Candidate(name, parse_public(text), None, "public")
        if not text:
            return Candidate(name, blob, None, "public" if blob else "missing")
        key = self._unlocked.get(path) or load_key(path, None)
        if isinstance(key, str):
            return Candidate(name, blob, None, key, path)
        return Candidate(name, bytes(key.asbytes()), key, "ready", path)

    def _from_agent(self, settings: SshSettings, environ: Mapping[str, str]) -> list[Candidate]:
        import paramiko

        self.close()
        # A dangling SSH_AUTH_SOCK is common and no reason to fail.
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._agent = _open_agent(settings, environ)
        if self._agent is None:
            return []
        return [_of_agent(key) for key in self._agent.get_keys()]


def is_gclouds(name: str, home: Path) -> bool:
    """Whether a key file is the one that gcloud makes and shares with us."""
    return expand(name, home) == expand(GCLOUDS_FILE, home)


def _agent_has(blob: bytes, settings: SshSettings, environ: Mapping[str, str]) -> bool:
    """Asked in a conversation of its own: a login that goes on meanwhile signs in another."""
    with contextlib.closing(Keys()) as others:
        return blob in [candidate.blob for candidate in others._from_agent(settings, environ)]


def _with_certificate(candidate: Candidate) -> list[Candidate]:
    """A machine may accept the certificate or the key alone; an expired certificate must not hide the key."""
    certificate = certificate_of(candidate.path) if candidate.path else b""
    if not certificate:
        return [candidate]
    key = certified(candidate.key, certificate) if candidate.key else None
    label = f"the certificate of {candidate.label}"
    return [replace(candidate, label=label, key=key, certificate=certificate), candidate]


def _of_agent(key: paramiko.AgentKey) -> Candidate:
    label = f"agent key {key.comment or key.get_name()}"
    if not key.get_name().endswith("-cert-v01@openssh.com"):
        return Candidate(label, key.asbytes(), key)
    certify(key, key.blob)
    return Candidate(f"{label} (certificate)", b"", key, certificate=key.blob)


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


def _check_asked_for(candidate: Candidate) -> None:
    if candidate.state == "missing":
        what = f"The key file {candidate.label} cannot be read"
        raise SshError("no-usable-key", what, hint="Set `ssh.identity_file` to an existing key")
    if candidate.state == "unusable":
        what = f"The key file {candidate.label} has a format or a type that is not supported"
        hint = f"`ssh-keygen -p -f {candidate.label}` rewrites it in OpenSSH's format"
        raise SshError("no-usable-key", what, "only ED25519, ECDSA and RSA keys are", hint)
