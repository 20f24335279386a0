"""The user's private keys: from the agent and from files, unlocked once and kept in memory only."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..errors import SshError
from ..protocols import Ask, Tell
from ..settings import SshSettings
from ..values import dataclass
from .key_files import certificate_of, certified, certify, load_key, parse_public, public_half, read_key_file
from .key_making import ensure_key_pair
from .known_hosts import as_line
from .penalties import Penalties
from .places import expand, home_of

if TYPE_CHECKING:
    import paramiko

log = logging.getLogger(__name__)
GCLOUDS_FILE = "~/.ssh/google_compute_engine"
_USUAL_FILES = (GCLOUDS_FILE, "~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
_PASSPHRASE_TRIES = 3
_SILENT = "does not answer"


class AgentWait(NamedTuple):
    """How long the agent may take to list its keys: ``first_s``; and, if it has not by then, ``then_s`` more, after
    ``tell`` has said so to a person, who may have to unlock it."""

    first_s: float = 5.0
    then_s: float = 0.0
    tell: Tell | None = None


IN_BACKGROUND = AgentWait()


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
    """Remembers what was unlocked, and which key a machine accepted, so that a reconnect asks nothing; close it to let
    the agent go.

    ``penalties``: of logins that were in vain. ``agent_trouble``: why the agent's keys are not known; empty where they
    are, or there is no agent."""

    def __init__(self) -> None:
        self._unlocked: dict[Path, paramiko.PKey] = {}
        self._agent: Any = None
        self._accepted: dict[tuple[str, tuple[object, ...]], Candidate] = {}
        self.agent_trouble = ""
        self.penalties = Penalties()

    def accepted(self, candidate: Candidate | None, machine: str, settings: SshSettings) -> None:
        """``machine``: its host key's name."""
        if candidate is not None:
            self._accepted[machine, _asked_for(settings)] = candidate

    def known(self, machine: str, settings: SshSettings) -> list[Candidate]:
        """The key that was accepted there before, if it is at hand: an agent's may not be any more."""
        candidate = self._accepted.get((machine, _asked_for(settings)))
        return [candidate] if candidate is not None and candidate.path is not None else []

    def candidates(
        self,
        settings: SshSettings,
        environ: Mapping[str, str],
        wanted: Collection[bytes] = (),
        wait: AgentWait = IN_BACKGROUND,
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
        from_agent = self._from_agent(settings, environ, wait)
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

    def _from_agent(self, settings: SshSettings, environ: Mapping[str, str], wait: AgentWait) -> list[Candidate]:
        import paramiko

        from .agents import address_of, open_agent

        self.close()
        address = address_of(settings, environ)
        if not address:
            self.agent_trouble = ""
            return []
        was_silent, self.agent_trouble = self.agent_trouble.endswith(_SILENT), ""
        try:
            try:
                self._agent = open_agent(address, wait.first_s)
            except TimeoutError:
                if was_silent or wait.tell is None or wait.then_s <= 0:
                    raise
                wait.tell(f"The SSH agent at {address} does not answer: it may have to be unlocked")
                self._agent = open_agent(address, wait.then_s)
        except TimeoutError:
            self.agent_trouble = f"the SSH agent at {address} {_SILENT}"
        except (OSError, EOFError, paramiko.SSHException) as error:
            log.info("the agent at %s: %r", address, error)  # a dangling SSH_AUTH_SOCK is common
        return [_of_agent(key) for key in self._agent.get_keys()] if self._agent else []


def is_gclouds(name: str, home: Path) -> bool:
    """Whether a key file is the one that gcloud makes and shares with us."""
    return expand(name, home) == expand(GCLOUDS_FILE, home)


def _asked_for(settings: SshSettings) -> tuple[object, ...]:
    return settings.user, settings.identity_file, settings.identity_files, settings.identities_only


def _agent_has(blob: bytes, settings: SshSettings, environ: Mapping[str, str]) -> bool:
    """Asked in a conversation of its own: a login that goes on meanwhile signs in another."""
    with contextlib.closing(Keys()) as others:
        return blob in [candidate.blob for candidate in others._from_agent(settings, environ, IN_BACKGROUND)]


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


def _check_asked_for(candidate: Candidate) -> None:
    if candidate.state == "missing":
        what = f"The key file {candidate.label} cannot be read"
        raise SshError("no-usable-key", what, hint="Set `ssh.identity_file` to an existing key")
    if candidate.state == "unusable":
        what = f"The key file {candidate.label} has a format or a type that is not supported"
        hint = f"`ssh-keygen -p -f {candidate.label}` rewrites it in OpenSSH's format"
        raise SshError("no-usable-key", what, "only ED25519, ECDSA and RSA keys are", hint)
