"""Whether a host key is the machine's: our pins, the cloud's word, gcloud's file, the user's known_hosts.

All files have OpenSSH's known_hosts format (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"). Only our own is ever written.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fnmatch
import hashlib
import hmac
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import locks
from ..errors import LocalError, SshError
from ..model import Instance, SshSettings, Tell
from ..waits import Deadline

_LOCK_S = 10.0
_OPENSSH_ORDER = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


@dataclass(frozen=True)
class HostKey:
    """``kind``: ``ssh-ed25519`` and so on; ``data``: its base64 form."""

    kind: str
    data: str

    @property
    def fingerprint(self) -> str:
        """``SHA256:…`` as OpenSSH writes it."""
        digest = hashlib.sha256(base64.b64decode(self.data)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@dataclass(frozen=True)
class _Known:
    """What one source says of a name. ``where``: shown to the person."""

    where: str
    keys: tuple[HostKey, ...] = ()
    revoked: tuple[HostKey, ...] = ()


class HostKeys:
    """What is known of one machine before it is connected to."""

    def __init__(self, instance: Instance, settings: SshSettings, *, pins: Path, home: Path) -> None:
        self._instance = instance
        self._settings = settings
        self._pins = pins
        name = instance.host_key_name
        self._pinned = _read(pins, name, "our pins")
        self._vouched = _Known("the cloud's guest attributes", tuple(_parse_keys(instance.host_keys)))
        self._sources = [self._pinned, self._vouched]
        if instance.kind == "gce":
            self._sources.append(_read(home / ".ssh" / "google_compute_known_hosts", name, "gcloud's known hosts"))
        if instance.kind == "ssh":
            files = settings.known_hosts_files or ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
            self._sources.append(_merged([_read(expand(file, home), name, file) for file in files]))

    def algorithms(self) -> list[str]:
        """Host key algorithms for the key exchange: those of the known keys first, so that a machine known by one
        key does not show another."""
        known = [key.kind for source in self._sources for key in source.keys]
        kinds = [*(kind for kind in _OPENSSH_ORDER if kind in known), *_OPENSSH_ORDER]
        return [name for kind in dict.fromkeys(kinds) for name in _ALGORITHMS.get(kind, (kind,))]

    def check(self, shown: HostKey, tell: Tell) -> None:
        """Returns if ``shown`` is the machine's key; it is pinned where the cloud vouches for it or the profile
        accepts new ones. Raises ``SshError`` ``host-key-changed`` or ``host-key-unknown``."""
        for source in self._sources:
            if shown in source.revoked:
                raise self._revoked(shown, source)
        for source in self._sources:
            if source.keys and shown not in source.keys:
                raise self._changed(shown, source)
            if source.keys:
                if source is self._vouched:
                    add_pin(self._pins, self._instance.host_key_name, shown)
                return
        if self._settings.host_key != "accept-new":
            raise self._unknown(shown)
        add_pin(self._pins, self._instance.host_key_name, shown)
        tell(f"New host key of {self._instance.name} accepted and pinned: {shown.kind} {shown.fingerprint}")

    def _changed(self, shown: HostKey, source: _Known) -> SshError:
        known = next((key for key in source.keys if key.kind == shown.kind), source.keys[0])
        why = (
            f"it shows {shown.kind} {shown.fingerprint}, but {source.where} has {known.kind} {known.fingerprint}; "
            "either the machine was made anew or somebody is in between"
        )
        if source is not self._vouched and shown in self._vouched.keys:
            why += "; the cloud's guest attributes name the new key, so it was most likely made anew"
        hint = ""
        if source is self._pinned:
            hint = "if you know that it was made anew: `remote-runtime host-key forget PROFILE`"
        elif source is not self._vouched:
            hint = f"if you know that it was made anew: `ssh-keygen -R '{self._instance.host_key_name}'`"
            if source.where == "gcloud's known hosts":
                hint = hint[:-1] + " -f ~/.ssh/google_compute_known_hosts`"
        return SshError("host-key-changed", f"The host key of {self._instance.name} has changed", why, hint)

    def _unknown(self, shown: HostKey) -> SshError:
        why = f"it shows {shown.kind} {shown.fingerprint}, and nothing we trust knows its key"
        if self._instance.kind == "ssh":
            hint = (
                "compare the fingerprint on the machine and connect once with `ssh`, or set `ssh.host_key: accept-new`"
            )
        else:
            hint = (
                "set the metadata `enable-guest-attributes=TRUE` and restart the machine, or compare the fingerprint "
                f"with `gcloud compute instances get-serial-port-output {self._instance.name}` "
                "and set `ssh.host_key: accept-new`"
            )
        return SshError("host-key-unknown", f"The host key of {self._instance.name} cannot be verified", why, hint)

    def _revoked(self, shown: HostKey, source: _Known) -> SshError:
        why = f"{source.where} marks {shown.kind} {shown.fingerprint} as revoked"
        return SshError("host-key-unknown", f"The host key of {self._instance.name} is revoked", why)


def show_pins(pins: Path, name: str) -> list[tuple[str, str]]:
    """(type, ``SHA256:…``) of each key that we have pinned for ``name``."""
    return [(key.kind, key.fingerprint) for key in _read(pins, name, "").keys]


def forget_pins(pins: Path, name: str) -> int:
    """Drop the pins of ``name``; how many there were. Raises ``LocalError`` ``state-dir-unusable``."""
    if not pins.exists():
        return 0
    with _locked(pins):
        lines = _lines(pins)
        kept = [line for line in lines if line.split(" ", 1)[0] != name]
        if len(kept) != len(lines):
            _write(pins, kept)
    return len(lines) - len(kept)


def add_pin(pins: Path, name: str, key: HostKey) -> None:
    """Keepers of several runtimes share the file, so it is read again under the lock."""
    line = f"{name} {key.kind} {key.data}"
    with _locked(pins):
        lines = _lines(pins)
        if line not in lines:
            _write(pins, [*lines, line])


def expand(path: str, home: Path) -> Path:
    """``~`` is the HOME of the given environment, which may not be this process's."""
    return home / path[2:] if path.startswith("~/") else Path(path)


@contextlib.contextmanager
def _locked(pins: Path) -> Iterator[None]:
    try:
        pins.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locks.held(pins.with_name(pins.name + ".lock"), Deadline(_LOCK_S)):
            yield
    except OSError as error:
        raise LocalError("state-dir-unusable", f"The host key pins in {pins} cannot be written", str(error)) from error


def _write(pins: Path, lines: Sequence[str]) -> None:
    aside = pins.with_name(f"{pins.name}.{os.getpid()}.new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)
    os.replace(aside, pins)


def _read(path: Path, name: str, where: str) -> _Known:
    keys: list[HostKey] = []
    revoked: list[HostKey] = []
    for line in _lines(path):
        marker, _, rest = line.partition(" ") if line.startswith("@") else ("", "", line)
        names, *fields = rest.split()
        if not _matches(names, name):
            continue
        # A @cert-authority vouches for certificates, which we do not ask a machine for.
        target = {"": keys, "@revoked": revoked}.get(marker)
        if target is not None:
            target.extend(_parse_keys([" ".join(fields)]))
    return _Known(where, tuple(keys), tuple(revoked))


def _merged(sources: Sequence[_Known]) -> _Known:
    """The user's files count as one, as OpenSSH sees them."""
    keys = tuple(key for source in sources for key in source.keys)
    revoked = tuple(key for source in sources for key in source.revoked)
    where = " and ".join(source.where for source in sources if source.keys or source.revoked)
    return _Known(where, keys, revoked)


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if len(line.split()) >= 3 and not line.startswith("#")]


def _parse_keys(lines: Iterable[str]) -> list[HostKey]:
    keys = []
    for fields in (line.split() for line in lines):
        if len(fields) < 2:
            continue
        try:
            raw = base64.b64decode(fields[1], validate=True)
        except binascii.Error:
            continue
        if raw[4 : 4 + len(fields[0])] == fields[0].encode():
            keys.append(HostKey(fields[0], base64.b64encode(raw).decode()))
    return keys


def _matches(names: str, name: str) -> bool:
    """The comma-separated patterns or the hashed name of an entry; a negated match wins."""
    if names.startswith("|1|"):
        try:
            salt, digest = (base64.b64decode(part) for part in names.split("|")[2:4])
        except ValueError:
            return False
        return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)
    found = False
    for pattern in names.lower().split(","):
        negated = pattern.startswith("!")
        if fnmatch.fnmatchcase(name.lower(), _literal_brackets(pattern.lstrip("!"))):
            if negated:
                return False
            found = True
    return found


def _literal_brackets(pattern: str) -> str:
    """OpenSSH knows only ``*`` and ``?``; brackets stand for themselves (``[host]:port``)."""
    return pattern.replace("[", "[[]")
