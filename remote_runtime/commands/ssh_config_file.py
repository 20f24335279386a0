"""The user's ~/.ssh/config, which includes the entries of this program from a folder of its own."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..core import file_lock
from ..core.deadline import Deadline
from ..core.errors import LocalError
from ..core.fast_dataclass import fast_dataclass
from ..core.private_file import ensure_private_dir, read_private, write_private

LOCK_TIMEOUT_S = 10.0
_HEADER = "# Written by `remote-runtime ssh-config`, which replaces this file."
_CREATED = "# There was no ~/.ssh/config before."
_SECTION = re.compile(rb"[ \t]*(?:host|match)(?:[ \t=]|$)", re.IGNORECASE)


@fast_dataclass(frozen=True)
class SshConfigFile:
    """``home``: the user's. ``ssh_home``: where OpenSSH looks for ``~/.ssh``, whatever HOME is. The methods raise
    ``LocalError`` ``ssh-config-not-written``, also for what cannot be read."""

    home: Path
    ssh_home: Path

    @property
    def users(self) -> Path:
        return self.home / ".ssh" / "config"

    @property
    def ours(self) -> Path:
        return self.home / ".ssh" / "remote-runtime" / "config"

    @property
    def include(self) -> str:
        """The line in the user's file."""
        if self.home == self.ssh_home:
            return "Include ~/.ssh/remote-runtime/config"
        return f'Include "{self.ours.as_posix()}"'

    def entries(self) -> dict[str, str]:
        """The entries by alias that OpenSSH finds: none unless the file of the user includes them."""
        return _split(self._read_ours()) if _is_included(_read(self.users), self.include) else {}

    def install(self, entries: Mapping[str, str]) -> list[Path]:
        """Add or replace entries; the files that were changed."""
        with self._locked():
            before, users = self._read_ours(), _read(self.users)
            is_new = _CREATED in before.split("\n") or not self.users.exists()
            changed = self._write_ours({**_split(before), **entries}, is_new=is_new)
            if not _is_included(users, self.include):
                _replace(self.users, users, f"{self.include}\n".encode() + _without(users, self.include))
                changed.append(self.users)
        return changed

    def remove(self, aliases: Sequence[str] = ()) -> list[Path]:
        """Remove these entries, or all where none is named; the files that were changed or removed. Without entries
        the user's file has the bytes that it had before ``install``."""
        if not self.ours.parent.exists() and self.include.encode() not in _read(self.users):
            return []
        with self._locked():
            before, users = self._read_ours(), _read(self.users)
            kept = {alias: text for alias, text in _split(before).items() if aliases and alias not in aliases}
            is_new = _CREATED in before.split("\n")
            if kept:
                return self._write_ours(kept, is_new=is_new)
            changed = [self.users] if (rest := _without(users, self.include)) != users else []
            if changed and not rest and is_new:
                _remove(self.users)
            elif changed:
                _replace(self.users, users, rest)
            changed += [self.ours] if _remove(self.ours) else []
        with contextlib.suppress(OSError):  # files of the user stay in it
            (self.ours.parent / "lock").unlink()
            self.ours.parent.rmdir()
        return changed

    def _write_ours(self, entries: Mapping[str, str], *, is_new: bool) -> list[Path]:
        head = [_HEADER, *([_CREATED] if is_new else [])]
        text = "\n".join([*head, *(f"\n{entries[alias]}".rstrip("\n") for alias in sorted(entries))]) + "\n"
        if text == self._read_ours():
            return []
        with _reporting(self.ours):
            write_private(self.ours, text.encode())
        return [self.ours]

    def _read_ours(self) -> str:
        with _reporting(self.ours):
            try:
                return read_private(self.ours).decode("utf-8", "replace")
            except FileNotFoundError:
                return ""

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        folder = self.ours.parent
        with _reporting(folder):
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            ensure_private_dir(folder)
        with file_lock.locked(folder / "lock", Deadline(LOCK_TIMEOUT_S)):
            yield


def _split(text: str) -> dict[str, str]:
    """The entries by alias."""
    parts = re.split(r"(?m)^(?=Host )", text)[1:]
    return {part.split()[1]: part.rstrip("\n") + "\n" for part in parts}


def _is_included(content: bytes, include: str) -> bool:
    """Whether it is before the first section: further below it would be for the hosts of that section alone."""
    for line in content.split(b"\n"):
        if line.strip() == include.encode():
            return True
        if _SECTION.match(line):
            return False
    return False


def _without(content: bytes, include: str) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join(line for line in lines if line.strip() != include.encode())


def _read(path: Path) -> bytes:
    with _reporting(path):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return b""


def _remove(path: Path) -> bool:
    """Whether it was there. A link stays, and its target is removed."""
    with _reporting(path):
        try:
            Path(os.path.realpath(path)).unlink()
        except FileNotFoundError:
            return False
    return True


def _replace(path: Path, former: bytes, content: bytes) -> None:
    """Replace the file ``path``, or the target of a link there; its mode and owner stay. A new one has mode 0600."""
    path = Path(os.path.realpath(path))
    with _reporting(path):
        if not path.exists():
            write_private(path, content)
            return
        status = path.stat()
        aside = path.with_name(f"{path.name}.{os.getpid()}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        try:
            with os.fdopen(os.open(aside, flags, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if sys.platform != "win32":
                created = aside.stat()
                if (created.st_uid, created.st_gid) != (status.st_uid, status.st_gid):
                    os.chown(aside, status.st_uid, status.st_gid)
                aside.chmod(stat.S_IMODE(status.st_mode))
            if path.read_bytes() != former:
                raise OSError(0, "another program has changed it meanwhile", str(path))
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise LocalError("ssh-config-not-written", f"Can't read or write {path}", why) from error
