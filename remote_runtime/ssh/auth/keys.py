"""The user's private keys: from the agent and from files, unlocked once and kept in memory only."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...core.callbacks import Ask, Tell
from ...core.errors import SshError
from ...core.profile import SshSettings
from ..connectors import Reached
from ..files.known_hosts import as_line
from ..files.paths import exists, expand, home_of
from ..penalties import Penalties
from .candidate import Candidate, of_agent, with_certificate
from .key_files import (
    Fault,
    certified,
    key_kind,
    load_key,
    others_can_read,
    parse_public,
    public_half,
    read_certificate,
    read_key_file,
    rsa_bits,
)
from .keygen import ensure_key_pair

if TYPE_CHECKING:
    import paramiko

log = logging.getLogger(__name__)
GCLOUDS_FILE = "~/.ssh/google_compute_engine"
_USUAL_FILES = (GCLOUDS_FILE, "~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
_PASSPHRASE_TRIES = 3
_LOOK_AT_AGENT = "`ssh-add -l` shows what your agent holds; it may have to be unlocked"


class AgentWait(NamedTuple):
    """How long the agent may take to list its keys: ``first_s``; and, if it has not by then, ``then_s`` more, after
    ``tell`` has said so to a person, who may have to unlock it."""

    first_s: float = 5.0
    then_s: float = 0.0
    tell: Tell | None = None


IN_BACKGROUND = AgentWait()


class Keys:
    """Remembers what was unlocked, and which key a machine accepted, so that a reconnect asks nothing; close it to let
    the agent go.

    ``penalties``: of logins that were in vain. ``reached``: the addresses that answered. ``silent_agent``: its address,
    if it did not answer the last time. ``passed_over``: what could not be offered the last time, and why."""

    def __init__(self) -> None:
        self._unlocked: dict[Path, paramiko.PKey] = {}
        self._agent: Any = None
        self._agent_held: list[str] = []
        self.silent_agent = ""
        self._warned: set[Path] = set()
        self.passed_over: list[Fault] = []
        self._accepted: dict[tuple[str, tuple[object, ...]], Candidate] = {}
        self.penalties = Penalties()
        self.reached = Reached()

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
        tell: Tell = lambda text: None,
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
        self._warn(files, tell)
        self.passed_over = []
        if any(file.state == "ready" for file in files):
            wait = wait._replace(then_s=0.0)  # there is something else to offer meanwhile
        from_agent = self._from_agent(settings, environ, wait)
        self._pass_over(found, asked_for, [candidate.blob for candidate in from_agent])
        from_agent.sort(key=lambda candidate: candidate.blob not in preferred)
        if settings.identities_only:
            blobs = [candidate.blob for candidate in found]
            from_agent = [candidate for candidate in from_agent if candidate.blob in blobs]
        signed = self._certificates(settings, home)
        found = [each for key in from_agent for each in with_certificate(key, signed)]
        of_files = [each for file in files for each in with_certificate(file, signed)]
        found += of_files  # also what the agent has, which may not sign
        allowed = [candidate for candidate in found if self._is_allowed(candidate, settings)]
        return sorted(allowed, key=lambda candidate: (candidate.state == "locked", candidate.blob not in wanted))

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
            if isinstance(key, Fault):
                raise SshError("no-usable-key", f"The key file {candidate.label} cannot be used", key.why, key.hint)
            if key != "locked":
                self._unlocked[candidate.path] = key
                return certified(key, candidate.certificate) if candidate.certificate else key
            prompt = f"That is not the passphrase. Passphrase for {candidate.label}"
        raise SshError("passphrase-needed", f"The key {candidate.label} stays locked", "three wrong passphrases")

    def close(self) -> None:
        agent, self._agent = self._agent, None
        if agent is not None:
            agent._close()

    def _from_file(self, name: str, home: Path) -> Candidate:
        path = expand(name, home)
        text = read_key_file(path)
        blob = public_half(path, text)
        if blob and not text:
            text = read_key_file(path)  # whoever makes a pair puts its private half there first
        if text.startswith(("ssh-", "ecdsa-", "sk-")):
            return Candidate(name, parse_public(text), None, "public")
        if not text and not exists(path):
            return Candidate(name, blob, None, "public" if blob else "missing")
        key = self._unlocked.get(path) or load_key(path, None)
        if isinstance(key, Fault):
            return Candidate(name, blob, None, "unusable", path, fault=key)
        if key == "locked":
            return Candidate(name, blob, None, "locked", path)
        return Candidate(name, bytes(key.asbytes()), key, "ready", path)

    def _from_agent(self, settings: SshSettings, environ: Mapping[str, str], wait: AgentWait) -> list[Candidate]:
        import paramiko

        from .agent import address_of, open_agent

        self.close()
        address = address_of(settings, environ)
        if not address:
            self.silent_agent = ""
            return []
        was_silent, self.silent_agent = self.silent_agent, ""
        try:
            try:
                self._agent = open_agent(address, wait.first_s)
            except TimeoutError:
                if was_silent or wait.tell is None:
                    raise
                if wait.then_s <= 0:
                    wait.tell(f"The SSH agent at {address} does not answer: its keys are not offered")
                    raise
                wait.tell(f"The SSH agent at {address} does not answer: it may have to be unlocked")
                self._agent = open_agent(address, wait.then_s)
        except TimeoutError:
            self.silent_agent = address
            hint = "Unlock the agent until `ssh-add -l` lists its keys, or set `ssh.identity_file`"
            self.passed_over.append(Fault(f"the SSH agent at {address} does not answer", hint))
        except paramiko.SSHException as error:
            self.passed_over.append(Fault(f"the SSH agent at {address}: {error}", _LOOK_AT_AGENT))
        except (OSError, EOFError) as error:  # a dangling SSH_AUTH_SOCK is common
            log.info("the agent at %s: %r", address, error)
            held = f"; it held {', '.join(self._agent_held[:3])}" if self._agent_held else ""
            hint = "`ssh-add -l` shows what your agent holds"
            self.passed_over.append(Fault(f"the SSH agent at {address} is gone{held}", hint))
        if self._agent is None:
            return []
        found = [of_agent(key) for key in self._agent.get_keys()]
        if not found:
            self.passed_over.append(Fault(f"the SSH agent at {address} offers no key", _LOOK_AT_AGENT))
        self._agent_held = [candidate.label for candidate in found]
        return found

    def _certificates(self, settings: SshSettings, home: Path) -> list[tuple[str, bytes]] | None:
        """Those of CertificateFile, which count instead of the ones beside the keys; None where none is named."""
        if not settings.certificate_files:
            return None
        found = [(name, read_certificate(expand(name, home))) for name in settings.certificate_files]
        self.passed_over += [Fault(f"{name}: it is no file with a certificate") for name, blob in found if not blob]
        return [(name, blob) for name, blob in found if blob]

    def _pass_over(self, found: Sequence[Candidate], asked_for: Collection[str], in_agent: Collection[bytes]) -> None:
        for each in found:
            if each.blob and each.blob in in_agent:
                continue
            if each.fault:
                self.passed_over.append(Fault(f"{each.label}: {each.fault.why}", each.fault.hint))
            elif each.label in asked_for and each.state == "missing":
                self.passed_over.append(Fault(f"{each.label}: there is no such file"))
            elif each.label in asked_for and each.state == "public":
                why = f"{each.label}: only its public half is there, and no agent holds the private one"
                self.passed_over.append(Fault(why, "`ssh-add -l` shows what your agent holds"))

    def _is_allowed(self, candidate: Candidate, settings: SshSettings) -> bool:
        """By the options of ~/.ssh/config that narrow which keys are offered."""
        kind, only = key_kind(candidate.shown), settings.only
        names = [kind.replace("ssh-rsa", name) for name in ("rsa-sha2-512", "rsa-sha2-256")]
        why = ""
        if candidate.shown and only.public_keys and not set(names) & set(only.public_keys):
            why = f"PubkeyAcceptedAlgorithms of ~/.ssh/config does not have {kind}"
        elif candidate.blob and 0 < (bits := rsa_bits(candidate.blob)) < only.rsa_bits:
            why = f"it has {bits} bits, and RequiredRSASize of ~/.ssh/config asks for {only.rsa_bits}"
        if why:
            self.passed_over.append(Fault(f"{candidate.label}: {why}"))
        return not why

    def _warn(self, files: Sequence[Candidate], tell: Tell) -> None:
        for each in files:
            if each.path and each.path not in self._warned and others_can_read(each.path):
                self._warned.add(each.path)
                tell(f"Other users of this computer can read the key {each.label}: `chmod 600 {each.path}`")


def is_gclouds(name: str, home: Path) -> bool:
    """Whether a key file is the one that gcloud makes and shares with us."""
    return expand(name, home) == expand(GCLOUDS_FILE, home)


def _asked_for(settings: SshSettings) -> tuple[object, ...]:
    files = settings.identity_file, settings.identity_files, settings.certificate_files
    return settings.user, files, settings.identities_only, settings.only


def _agent_has(blob: bytes, settings: SshSettings, environ: Mapping[str, str]) -> bool:
    """Asked in a conversation of its own: a login that goes on meanwhile signs in another."""
    with contextlib.closing(Keys()) as others:
        return blob in [candidate.blob for candidate in others._from_agent(settings, environ, IN_BACKGROUND)]


def _check_asked_for(candidate: Candidate) -> None:
    what = f"The key file {candidate.label} cannot be used"
    if candidate.state == "missing":
        hint = "Set `ssh.identity_file` to an existing key"
        raise SshError("no-usable-key", what, "there is no such file", hint)
    if candidate.fault and candidate.state == "unusable":
        raise SshError("no-usable-key", what, candidate.fault.why, candidate.fault.hint)
