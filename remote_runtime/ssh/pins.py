"""Whether a host key is the machine's: our pins, the cloud's word, gcloud's file, the user's known_hosts.

Only our own file is ever written.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .. import locks
from ..errors import LocalError, SshError
from ..model import Instance
from ..protocols import Tell
from ..settings import SshSettings
from ..waits import Deadline
from .known_hosts import HostKey, Known, lines_of, merged, parse_keys, read
from .places import expand, home_of

GCLOUDS_HOSTS = Path(".ssh", "google_compute_known_hosts")
_LOCK_S = 10.0
_OPENSSH_ORDER = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


class HostKeys:
    """What is known of one machine before it is connected to."""

    def __init__(self, instance: Instance, settings: SshSettings, *, pins: Path, home: Path) -> None:
        self._instance = instance
        self._settings = settings
        self._pins = pins
        name = instance.host_key_name
        self._pinned = read(pins, name, "our pins")
        self._vouched = Known("the cloud's guest attributes", tuple(parse_keys(instance.host_keys)))
        self._sources = [self._pinned, self._vouched]
        if instance.kind == "gce":
            self._sources.append(read(home / GCLOUDS_HOSTS, name, "gcloud's known hosts"))
        if instance.kind == "ssh":
            files = settings.known_hosts_files or ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
            self._sources.append(merged([read(expand(file, home), name, file) for file in files]))

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

    def _changed(self, shown: HostKey, source: Known) -> SshError:
        known = next((key for key in source.keys if key.kind == shown.kind), source.keys[0])
        why = (
            f"it shows {shown.kind} {shown.fingerprint}, but by {source.where} its key is "
            f"{known.kind} {known.fingerprint}; either the machine was made anew or somebody is in between"
        )
        if source is not self._vouched and shown in self._vouched.keys:
            why += "; the cloud's guest attributes name the new key, so it was most likely made anew"
        hint = ""
        if source is self._pinned:
            hint = "If you know that it was made anew: `remote-runtime host-key forget PROFILE`"
        elif source is not self._vouched:
            hint = f"If you know that it was made anew: `ssh-keygen -R '{self._instance.host_key_name}'`"
            if source.where == "gcloud's known hosts":
                hint = hint[:-1] + " -f ~/.ssh/google_compute_known_hosts`"
        return SshError("host-key-changed", f"The host key of {self._instance.name} has changed", why, hint)

    def _unknown(self, shown: HostKey) -> SshError:
        why = f"it shows {shown.kind} {shown.fingerprint}, and nothing we trust knows its key"
        if self._instance.kind == "ssh":
            hint = (
                "Compare the fingerprint on the machine and connect once with `ssh`, or set `ssh.host_key: accept-new`"
            )
        else:
            hint = (
                "Set the metadata `enable-guest-attributes=TRUE` and restart the machine, or compare the fingerprint "
                f"with `gcloud compute instances get-serial-port-output {self._instance.name}` "
                "and set `ssh.host_key: accept-new`"
            )
        return SshError("host-key-unknown", f"The host key of {self._instance.name} cannot be verified", why, hint)

    def _revoked(self, shown: HostKey, source: Known) -> SshError:
        why = f"{source.where} marks {shown.kind} {shown.fingerprint} as revoked"
        return SshError("host-key-unknown", f"The host key of {self._instance.name} is revoked", why)


def show_pins(pins: Path, name: str) -> list[tuple[str, str]]:
    """(type, ``SHA256:…``) of each key that we have pinned for ``name``."""
    return [(key.kind, key.fingerprint) for key in read(pins, name, "").keys]


def known_instances(pins: Path, environ: Mapping[str, str]) -> set[str]:
    """The ``compute.<id>`` names whose host keys we or gcloud know."""
    lines = [*lines_of(pins), *lines_of(home_of(environ) / GCLOUDS_HOSTS)]
    return {name for line in lines if (name := line.split(" ", 1)[0]).startswith("compute.")}


def forget_pins(pins: Path, name: str) -> int:
    """Drop the pins of ``name``; how many there were. Raises ``LocalError`` ``state-dir-unusable``."""
    if not pins.exists():
        return 0
    with _locked(pins):
        lines = lines_of(pins)
        kept = [line for line in lines if line.split(" ", 1)[0] != name]
        if len(kept) != len(lines):
            _write(pins, kept)
    return len(lines) - len(kept)


def add_pin(pins: Path, name: str, key: HostKey) -> None:
    """Keepers of several runtimes share the file, so it is read again under the lock."""
    line = f"{name} {key.kind} {key.data}"
    with _locked(pins):
        lines = lines_of(pins)
        if line not in lines:
            _write(pins, [*lines, line])


@contextlib.contextmanager
def _locked(pins: Path) -> Iterator[None]:
    try:
        pins.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locks.held(pins.with_name(pins.name + ".lock"), Deadline(_LOCK_S)):
            yield
    except OSError as error:
        raise LocalError(
            "state-dir-unusable", f"The host key pins in {pins} cannot be written", error.strerror or str(error)
        ) from error


def _write(pins: Path, lines: Sequence[str]) -> None:
    aside = pins.with_name(f"{pins.name}.{os.getpid()}.new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())  # else a power cut may leave an empty file, and every host key unknown
    os.replace(aside, pins)
