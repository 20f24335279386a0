"""Files in OpenSSH's known_hosts format (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"), and the pinned host keys.

Pinned host keys are those that this program has verified. It writes no other known_hosts file.
"""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ...core import file_lock
from ...core.deadline import Deadline
from ...core.errors import LocalError
from ...core.fast_dataclass import fast_dataclass
from ...core.private_file import write_private
from .paths import home_dir

GCLOUD_KNOWN_HOSTS = Path(".ssh", "google_compute_known_hosts")
_LOCK_TIMEOUT_S = 10.0


@fast_dataclass(frozen=True)
class HostKey:
    """``kind``: ``ssh-ed25519`` and so on; ``data``: its base64 form."""

    kind: str
    data: str

    @property
    def fingerprint(self) -> str:
        """``SHA256:…`` as OpenSSH writes it."""
        digest = hashlib.sha256(base64.b64decode(self.data)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@fast_dataclass(frozen=True)
class KnownHostsFile:
    """``where``: its name in messages. ``entries``: (marker, names, key). ``error``: why it cannot be read, empty for a
    missing file."""

    where: str
    entries: tuple[tuple[str, str, HostKey], ...] = ()
    trouble: str = ""

    def with_marker(self, marker: str) -> KnownHostsFile:
        """Its entries with this marker."""
        return KnownHostsFile(self.where, tuple(entry for entry in self.entries if entry[0] == marker), self.trouble)


@fast_dataclass(frozen=True)
class KnownKeys:
    """The keys of a host name in one source. ``where``: for messages. ``authorities``: keys that sign certificates."""

    where: str
    keys: tuple[HostKey, ...] = ()
    revoked: tuple[HostKey, ...] = ()
    authorities: tuple[HostKey, ...] = ()


def load(path: Path, where: str) -> KnownHostsFile:
    try:
        lines = read_lines(path)
    except OSError as error:
        return KnownHostsFile(where, trouble=(error.strerror or str(error)).lower())
    return KnownHostsFile(where, tuple(entry for line in lines for entry in _parse_line(line)))


def find_keys(files: Sequence[KnownHostsFile], name: str) -> KnownKeys:
    """The keys of ``name`` in all of ``files``, which OpenSSH reads as one."""
    found: dict[str, list[HostKey]] = {"": [], "@revoked": [], "@cert-authority": []}
    where: dict[str, None] = {}
    for file in files:
        for marker, names, key in file.entries:
            if marker in found and _matches(names, name):
                found[marker].append(key)
                where[file.where] = None
    return KnownKeys(" and ".join(where), tuple(found[""]), tuple(found["@revoked"]), tuple(found["@cert-authority"]))


def known_hosts_name(host: str, port: int) -> str:
    """As known_hosts writes it: ``host``, or ``[host]:port`` where the port is not 22."""
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


def read_lines(path: Path) -> list[str]:
    """The lines that may be entries; none of a missing file. Raises ``OSError``."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return []
    lines = (line.strip() for line in text.split("\n"))  # other characters end no line for OpenSSH
    return [line for line in lines if len(line.split()) >= 3 and not line.startswith("#")]


def parse_keys(lines: Iterable[str]) -> list[HostKey]:
    keys = []
    for fields in (line.split() for line in lines):
        if len(fields) < 2:
            continue
        try:
            raw = base64.b64decode(fields[1], validate=True)
        except ValueError:  # no base64, or no ASCII
            continue
        if raw[4 : 4 + len(fields[0])] == fields[0].encode():
            keys.append(HostKey(fields[0], base64.b64encode(raw).decode()))
    return keys


def format_public_key(blob: bytes) -> str:
    """``TYPE BASE64``."""
    return f"{key_type(blob)} {base64.b64encode(blob).decode()}"


def key_type(blob: bytes) -> str:
    """``ssh-ed25519`` and so on: a public key begins with its type (RFC 4253 6.6)."""
    size = int.from_bytes(blob[:4], "big")
    return blob[4 : 4 + size].decode("ascii", "replace")


def read_strings(data: bytes, offset: int, gaps: Iterable[int]) -> list[bytes]:
    """SSH strings (RFC 4251 5) of ``data``, from ``offset`` on; before each, the bytes of its gap are skipped. Raises
    ``ValueError`` where the data end before that."""
    found = []
    for gap in gaps:
        start = offset + gap + 4
        if start > len(data):
            raise ValueError("a string is missing")
        offset = start + int.from_bytes(data[start - 4 : start], "big")
        found.append(data[start:offset])
    return found


def _parse_line(line: str) -> list[tuple[str, str, HostKey]]:
    """An empty list for a line that OpenSSH would skip."""
    fields = line.split()
    marker = fields.pop(0) if fields[0].startswith("@") else ""
    return [(marker, fields[0], key) for key in parse_keys([" ".join(fields[1:3])])]


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
        if fnmatch.fnmatchcase(name.lower(), _literal_brackets(pattern[1:] if negated else pattern)):
            if negated:
                return False
            found = True
    return found


def _literal_brackets(pattern: str) -> str:
    """OpenSSH knows only ``*`` and ``?``; brackets are literal (``[host]:port``)."""
    return pattern.replace("[", "[[]")


def pinned_keys(pins: Path, name: str) -> list[tuple[str, str]]:
    """(type, ``SHA256:…``) of each pinned key of ``name``."""
    return [(key.kind, key.fingerprint) for key in find_keys([load_pins(pins)], name).keys]


def load_pins(pins: Path) -> KnownHostsFile:
    """Raises ``LocalError`` ``state-dir-unusable``: without them a changed key would pass for a new one."""
    file = load(pins, "the pinned host keys")
    if file.trouble:
        raise LocalError("state-dir-unusable", f"Can't read the pinned host keys in {pins}", file.trouble)
    return file


def known_instances(pins: Path, environ: Mapping[str, str]) -> set[str]:
    """The ``compute.<id>`` names whose host keys remote-runtime or gcloud knows."""
    found = [load(pins, ""), load(home_dir(environ) / GCLOUD_KNOWN_HOSTS, "")]
    entries = [entry for file in found for entry in file.entries]
    return {names for marker, names, _ in entries if not marker and names.startswith("compute.")}


def unpin(pins: Path, name: str) -> int:
    """Removes the pinned host keys of ``name``; how many there were. Raises ``LocalError`` ``state-dir-unusable``."""
    if not pins.exists():
        return 0
    with _locked(pins):
        lines = read_lines(pins)
        kept = [line for line in lines if line.split(None, 1)[0] != name]
        if len(kept) != len(lines):
            _write(pins, kept)
    return len(lines) - len(kept)


def pin(pins: Path, name: str, key: HostKey) -> None:
    """Adds the key. Keepers of several runtimes share the file, so it is read again under the lock."""
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
            "state-dir-unusable", f"Can't write the pinned host keys in {pins}", error.strerror or str(error)
        ) from error


def _write(pins: Path, lines: Sequence[str]) -> None:
    write_private(pins, "".join(f"{line}\n" for line in lines).encode())
