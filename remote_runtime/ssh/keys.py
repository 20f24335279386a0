"""The user's private keys: from the agent and from files, unlocked once and kept in memory only."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import SshError
from ..model import Ask, SshSettings
from .key_files import load_key, parse_public, public_half, read_key_file
from .places import expand, home_of

if TYPE_CHECKING:
    import paramiko

_USUAL_FILES = ("~/.ssh/google_compute_engine", "~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
_AGENT_S = 30.0  # an agent may ask its user for consent
_PASSPHRASE_TRIES = 3


@dataclass(frozen=True)
class Candidate:
    """A key worth offering. ``blob``: its public half, empty if unknown. ``key``: None unless it is ``ready``.

    ``public``: only its public half is there, which tells which of the agent's keys is meant. ``unusable``: of a kind
    or in a format that paramiko does not know."""

    label: str
    blob: bytes
    key: paramiko.PKey | None
    state: Literal["ready", "locked", "public", "unusable", "missing"] = "ready"
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
        found = [self._from_file(name, home) for name in dict.fromkeys(names)]
        if settings.identity_file:
            _check_asked_for(found[0])
        wanted = [candidate.blob for candidate in found if candidate.label in asked_for]
        files = [candidate for candidate in found if candidate.state in ("ready", "locked")]
        from_agent = self._from_agent(settings, environ)
        from_agent.sort(key=lambda candidate: candidate.blob not in wanted)
        if settings.identities_only:
            blobs = [candidate.blob for candidate in found]
            from_agent = [candidate for candidate in from_agent if candidate.blob in blobs]
        known = {candidate.blob for candidate in from_agent}
        files = [candidate for candidate in files if not candidate.blob or candidate.blob not in known]
        return sorted([*from_agent, *files], key=lambda candidate: candidate.state == "locked")

    def unlock(self, candidate: Candidate, ask: Ask) -> paramiko.PKey:
        """Asks for the passphrase, three times at most. Raises ``SshError`` ``passphrase-needed``."""
        assert candidate.path is not None  # noqa: S101  # only files are locked
        prompt = f"Passphrase for {candidate.label}"
        for _ in range(_PASSPHRASE_TRIES):
            key = load_key(candidate.path, ask(prompt, secret=True, code="passphrase-needed"))
            if not isinstance(key, str):
                self._unlocked[candidate.path] = key
                return key
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
        labels = [f"agent key {key.comment or key.get_name()}" for key in self._agent.get_keys()]
        return [Candidate(label, key.asbytes(), key) for label, key in zip(labels, self._agent.get_keys(), strict=True)]


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
        raise SshError("no-usable-key", what, hint="set `ssh.identity_file` to an existing key")
    if candidate.state == "unusable":
        what = f"The key file {candidate.label} has a format or a type that is not supported"
        hint = f"`ssh-keygen -p -f {candidate.label}` rewrites it in OpenSSH's format"
        raise SshError("no-usable-key", what, "only ED25519, ECDSA and RSA keys are", hint)
