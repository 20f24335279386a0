"""The user's private keys: from the agent and from files, unlocked once and kept in memory only."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...core.callbacks import Progress, Prompt
from ...core.errors import SshError
from ...core.profile import SshSettings
from ...core.shell_command import quote_word
from ..connectors import AddressCache
from ..files.known_hosts import format_public_key, key_type
from ..files.paths import expand_home, home_dir, path_exists
from ..penalties import Penalties
from .candidate import KeyCandidate, agent_candidate, with_certificate
from .key_files import (
    KeyFault,
    certified,
    ensure_key_pair,
    load_key,
    others_can_read,
    parse_public_key,
    public_half,
    read_certificate,
    read_key_file,
    rsa_bits,
)

if TYPE_CHECKING:
    import paramiko

log = logging.getLogger(__name__)
GCLOUD_KEY_FILE = "~/.ssh/google_compute_engine"
_DEFAULT_FILES = (GCLOUD_KEY_FILE, "~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
_PASSPHRASE_TRIES = 3
_AGENT_HINT = "Check the agent's keys with `ssh-add -l`; it might be locked"


class AgentTimeouts(NamedTuple):
    """How long the agent may take to list its keys: ``first_s``, then ``then_s`` more after ``progress`` has reported
    it to the person, who may have to unlock the agent."""

    first_s: float = 5.0
    then_s: float = 0.0
    progress: Progress | None = None


BACKGROUND_AGENT = AgentTimeouts()


class Keys:
    """Remembers unlocked keys, and the key that each machine accepted, so that a reconnect needs no prompt. ``close``
    disconnects from the agent.

    ``penalties``: of failed logins. ``addresses``: that answered. ``silent_agent``: address of an agent that did not
    answer the last time. ``skipped``: keys that could not be offered the last time, and why."""

    def __init__(self) -> None:
        self._unlocked: dict[Path, paramiko.PKey] = {}
        self._agent: Any = None
        self._agent_labels: list[str] = []
        self.silent_agent = ""
        self._warned: set[Path] = set()
        self.skipped: list[KeyFault] = []
        self._accepted: dict[tuple[str, tuple[object, ...]], KeyCandidate] = {}
        self.penalties = Penalties()
        self.addresses = AddressCache()

    def remember_accepted(self, candidate: KeyCandidate | None, machine: str, settings: SshSettings) -> None:
        """``machine``: its host key's name."""
        if candidate is not None:
            self._accepted[machine, _identity_settings(settings)] = candidate

    def last_accepted(self, machine: str, settings: SshSettings) -> list[KeyCandidate]:
        """The key that was accepted before, if it is of a file: an agent might have lost it."""
        candidate = self._accepted.get((machine, _identity_settings(settings)))
        return [candidate] if candidate is not None and candidate.path is not None else []

    def candidates(
        self,
        settings: SshSettings,
        environ: Mapping[str, str],
        accepted_keys: Collection[bytes] = (),
        agent_timeouts: AgentTimeouts = BACKGROUND_AGENT,
        progress: Progress = lambda text: None,
    ) -> list[KeyCandidate]:
        """The agent's keys, the profile's file, those of ~/.ssh/config, the default files, each after its certificate;
        those in ``accepted_keys`` (public halves) first, and locked ones last, so that no passphrase is typed in vain.
        Raises ``SshError`` ``no-usable-key`` for a file of the profile that cannot be used."""
        home = home_dir(environ)
        named = [settings.identity_file] if settings.identity_file else []
        named += settings.identity_files
        names = named if settings.identities_only and named else [*named, *_DEFAULT_FILES]
        found = [self._from_file(name, home) for name in dict.fromkeys(names)]
        if settings.identity_file and not (is_gcloud_key(settings.identity_file, home) and found[0].state == "missing"):
            _require_usable(found[0])
        preferred = [candidate.blob for candidate in found if candidate.label in named]
        files = [candidate for candidate in found if candidate.state in ("ready", "locked")]
        self._warn_if_readable(files, progress)
        self.skipped = []
        if any(file.state == "ready" for file in files):
            agent_timeouts = agent_timeouts._replace(then_s=0.0)  # there is something else to offer meanwhile
        from_agent = self._from_agent(settings, environ, agent_timeouts)
        self._note_skipped(found, named, [candidate.blob for candidate in from_agent])
        from_agent.sort(key=lambda candidate: candidate.blob not in preferred)
        if settings.identities_only:
            blobs = [candidate.blob for candidate in found]
            from_agent = [candidate for candidate in from_agent if candidate.blob in blobs]
        certificates = self._certificates(settings, home)
        found = [each for key in from_agent for each in with_certificate(key, certificates)]
        of_files = [each for file in files for each in with_certificate(file, certificates)]
        found += of_files  # also keys that the agent has: it may refuse to sign
        allowed = [candidate for candidate in found if self._is_allowed(candidate, settings)]
        return sorted(allowed, key=lambda candidate: (candidate.state == "locked", candidate.blob not in accepted_keys))

    def public_keys(self, settings: SshSettings, environ: Mapping[str, str]) -> tuple[str, ...]:
        """``TYPE BASE64`` of each key that would be offered. Raises as ``candidates`` does."""
        blobs = [candidate.blob for candidate in self.candidates(settings, environ) if candidate.blob]
        return tuple(format_public_key(blob) for blob in dict.fromkeys(blobs))

    def key_to_install(self, settings: SshSettings, environ: Mapping[str, str], progress: Progress) -> str:
        """``TYPE BASE64`` of the key to install on a machine that accepts none: the profile's, else gcloud's, which is
        made if it is missing. Raises ``SshError`` ``no-usable-key``."""
        home = home_dir(environ)
        name = settings.identity_file or GCLOUD_KEY_FILE
        path = expand_home(name, home)
        candidate = self._from_file(name, home)
        if candidate.state == "missing" and is_gcloud_key(name, home):
            ensure_key_pair(path)
            progress(f"Created the key {name}, which gcloud uses too")
            candidate = self._from_file(name, home)
        _require_usable(candidate)
        if candidate.state == "public" and not _agent_has(candidate.blob, settings, environ):
            raise SshError("no-usable-key", f"The private key of {name} is missing", "only its public half is there")
        if not candidate.blob:
            raise SshError(
                "no-usable-key",
                f"Can't read the public half of {name}",
                "the key is encrypted, in a format that hides it",
                f"Run `ssh-keygen -y -f {quote_word(str(path))} > {quote_word(f'{path}.pub')}`",
            )
        if is_gcloud_key(name, home) and candidate.state != "public":
            ensure_key_pair(path)  # gcloud calls a pair without its public half broken
        return format_public_key(candidate.blob)

    def unlock(self, candidate: KeyCandidate, prompt: Prompt) -> paramiko.PKey:
        """Prompts for the passphrase, three times at most. Raises ``SshError`` ``passphrase-needed``."""
        assert candidate.path is not None  # noqa: S101  # only files are locked
        if candidate.path in self._unlocked:  # a moment ago, for its certificate
            return self._unlocked[candidate.path]
        question = f"Passphrase for {candidate.label}"
        for _ in range(_PASSPHRASE_TRIES):
            key = load_key(candidate.path, prompt(question, secret=True, code="passphrase-needed"))
            if isinstance(key, KeyFault):
                raise SshError("no-usable-key", f"Can't use the key file {candidate.label}", key.why, key.hint)
            if key != "locked":
                self._unlocked[candidate.path] = key
                return certified(key, candidate.certificate) if candidate.certificate else key
            question = f"That is not the passphrase. Passphrase for {candidate.label}"
        raise SshError("passphrase-needed", f"Can't unlock the key {candidate.label}", "three wrong passphrases")

    def close(self) -> None:
        agent, self._agent = self._agent, None
        if agent is not None:
            agent._close()

    def _from_file(self, name: str, home: Path) -> KeyCandidate:
        path = expand_home(name, home)
        text = read_key_file(path)
        blob = public_half(path, text)
        if blob and not text:
            text = read_key_file(path)  # the private half of a new pair is written first
        if text.startswith(("ssh-", "ecdsa-", "sk-")):
            return KeyCandidate(name, parse_public_key(text), None, "public")
        if not text and not path_exists(path):
            return KeyCandidate(name, blob, None, "public" if blob else "missing")
        key = self._unlocked.get(path) or load_key(path, None)
        if isinstance(key, KeyFault):
            return KeyCandidate(name, blob, None, "unusable", path, fault=key)
        if key == "locked":
            return KeyCandidate(name, blob, None, "locked", path)
        return KeyCandidate(name, bytes(key.asbytes()), key, "ready", path)

    def _from_agent(
        self, settings: SshSettings, environ: Mapping[str, str], timeouts: AgentTimeouts
    ) -> list[KeyCandidate]:
        import paramiko

        from .agent import agent_address, open_agent

        self.close()
        address = agent_address(settings, environ)
        if not address:
            self.silent_agent = ""
            return []
        was_silent, self.silent_agent = self.silent_agent, ""
        try:
            try:
                self._agent = open_agent(address, timeouts.first_s)
            except TimeoutError:
                if was_silent or timeouts.progress is None:
                    raise
                if timeouts.then_s <= 0:
                    timeouts.progress(f"The SSH agent at {address} does not answer: its keys are not offered")
                    raise
                timeouts.progress(f"The SSH agent at {address} does not answer: it may have to be unlocked")
                self._agent = open_agent(address, timeouts.then_s)
        except TimeoutError:
            self.silent_agent = address
            hint = "Unlock the agent until `ssh-add -l` lists its keys, or set `ssh.identity_file`"
            self.skipped.append(KeyFault(f"the SSH agent at {address} does not respond", hint))
        except paramiko.SSHException as error:
            self.skipped.append(KeyFault(f"the SSH agent at {address}: {error}", _AGENT_HINT))
        except (OSError, EOFError) as error:  # a dangling SSH_AUTH_SOCK is common
            log.info("the agent at %s: %r", address, error)
            lost_keys = f"; it had {', '.join(self._agent_labels[:3])}" if self._agent_labels else ""
            hint = "Check the agent's keys with `ssh-add -l`"
            self.skipped.append(KeyFault(f"the SSH agent at {address} is gone{lost_keys}", hint))
        if self._agent is None:
            return []
        found = [agent_candidate(key) for key in self._agent.get_keys()]
        if not found:
            self.skipped.append(KeyFault(f"the SSH agent at {address} offers no key", _AGENT_HINT))
        self._agent_labels = [candidate.label for candidate in found]
        return found

    def _certificates(self, settings: SshSettings, home: Path) -> list[tuple[str, bytes]] | None:
        """Those of CertificateFile, which replace the ones beside the keys; None where the option is not set."""
        if not settings.certificate_files:
            return None
        found = [(name, read_certificate(expand_home(name, home))) for name in settings.certificate_files]
        self.skipped += [KeyFault(f"{name}: it is not a certificate file") for name, blob in found if not blob]
        return [(name, blob) for name, blob in found if blob]

    def _note_skipped(self, found: Sequence[KeyCandidate], named: Collection[str], in_agent: Collection[bytes]) -> None:
        for each in found:
            if each.blob and each.blob in in_agent:
                continue
            if each.fault:
                self.skipped.append(KeyFault(f"{each.label}: {each.fault.why}", each.fault.hint))
            elif each.label in named and each.state == "missing":
                self.skipped.append(KeyFault(f"{each.label}: there is no such file"))
            elif each.label in named and each.state == "public":
                why = f"{each.label}: only its public half is there, and no agent has the private half"
                self.skipped.append(KeyFault(why, "Check the agent's keys with `ssh-add -l`"))

    def _is_allowed(self, candidate: KeyCandidate, settings: SshSettings) -> bool:
        """By the options of ~/.ssh/config that limit which keys are offered."""
        kind, only = key_type(candidate.presented), settings.allowed_algorithms
        names = [kind.replace("ssh-rsa", name) for name in ("rsa-sha2-512", "rsa-sha2-256")]
        why = ""
        if candidate.presented and only.public_keys and not set(names) & set(only.public_keys):
            why = f"PubkeyAcceptedAlgorithms of ~/.ssh/config does not have {kind}"
        elif candidate.blob and 0 < (bits := rsa_bits(candidate.blob)) < only.rsa_bits:
            why = f"it has {bits} bits, and RequiredRSASize of ~/.ssh/config requires {only.rsa_bits}"
        if why:
            self.skipped.append(KeyFault(f"{candidate.label}: {why}"))
        return not why

    def _warn_if_readable(self, files: Sequence[KeyCandidate], progress: Progress) -> None:
        for each in files:
            if each.path and each.path not in self._warned and others_can_read(each.path):
                self._warned.add(each.path)
                progress(f"Other users of this computer can read the key {each.label}: `chmod 600 {each.path}`")


def is_gcloud_key(name: str, home: Path) -> bool:
    """Whether it is the key file that gcloud makes and uses."""
    return expand_home(name, home) == expand_home(GCLOUD_KEY_FILE, home)


def _identity_settings(settings: SshSettings) -> tuple[object, ...]:
    files = settings.identity_file, settings.identity_files, settings.certificate_files
    return settings.user, files, settings.identities_only, settings.allowed_algorithms


def _agent_has(blob: bytes, settings: SshSettings, environ: Mapping[str, str]) -> bool:
    """Uses a connection of its own: a login may be signing on another."""
    with contextlib.closing(Keys()) as others:
        return blob in [candidate.blob for candidate in others._from_agent(settings, environ, BACKGROUND_AGENT)]


def _require_usable(candidate: KeyCandidate) -> None:
    what = f"Can't use the key file {candidate.label}"
    if candidate.state == "missing":
        hint = "Set `ssh.identity_file` to an existing key"
        raise SshError("no-usable-key", what, "there is no such file", hint)
    if candidate.fault and candidate.state == "unusable":
        raise SshError("no-usable-key", what, candidate.fault.why, candidate.fault.hint)
