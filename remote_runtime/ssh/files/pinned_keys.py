"""The host keys that this program has verified: its own known_hosts file, the only one that is ever written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ...core import file_lock
from ...core.deadline import Deadline
from ...core.errors import LocalError
from ...core.private_file import write_private
from .known_hosts import HostKey, KnownHostsFile, find_keys, load, read_lines
from .paths import home_dir

GCLOUD_KNOWN_HOSTS = Path(".ssh", "google_compute_known_hosts")
_LOCK_TIMEOUT_S = 10.0


def pinned_keys(pins: Path, name: str) -> list[tuple[str, str]]:
    """(type, ``SHA256:…``) of each key that we have pinned for ``name``."""
    return [(key.kind, key.fingerprint) for key in find_keys([load_pins(pins)], name).keys]


def load_pins(pins: Path) -> KnownHostsFile:
    """Raises ``LocalError`` ``state-dir-unusable``: without them a changed key would pass for a new one."""
    file = load(pins, "our pins")
    if file.trouble:
        raise LocalError("state-dir-unusable", f"The host key pins in {pins} cannot be read", file.trouble)
    return file


def known_instances(pins: Path, environ: Mapping[str, str]) -> set[str]:
    """The ``compute.<id>`` names whose host keys we or gcloud know."""
    found = [load(pins, ""), load(home_dir(environ) / GCLOUD_KNOWN_HOSTS, "")]
    entries = [entry for file in found for entry in file.entries]
    return {names for marker, names, _ in entries if not marker and names.startswith("compute.")}


def unpin(pins: Path, name: str) -> int:
    """Drop the pins of ``name``; how many there were. Raises ``LocalError`` ``state-dir-unusable``."""
    if not pins.exists():
        return 0
    with _locked(pins):
        lines = read_lines(pins)
        kept = [line for line in lines if line.split(None, 1)[0] != name]
        if len(kept) != len(lines):
            _write(pins, kept)
    return len(lines) - len(kept)


def pin(pins: Path, name: str, key: HostKey) -> None:
    """Keepers of several runtimes share the file, so it is read again under the lock."""
    line = f"{name} {key.kind} {key.data}"
    with _locked(pins):
        lines = read_lines(pins)
        if line not in lines:
            _write(pins, [*lines, line])


@contextlib.contextmanager
def _locked(pins: Path) -> Iterator[None]:
    try:
        pins.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with file_lock.locked(pins.with_name(pins.name + ".lock"), Deadline(_LOCK_TIMEOUT_S)):
            yield
    except OSError as error:
        raise LocalError(
            "state-dir-unusable", f"The host key pins in {pins} cannot be written", error.strerror or str(error)
        ) from error


def _write(pins: Path, lines: Sequence[str]) -> None:
    write_private(pins, "".join(f"{line}\n" for line in lines).encode())
