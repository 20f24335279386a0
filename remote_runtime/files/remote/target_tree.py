"""Writes below a root folder: each file aside in its folder, then renamed. No symbolic link below the root is followed.

All names are relative to the root. Methods raise ``OSError``, and are for any thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .names import from_home, is_safe

if TYPE_CHECKING:
    from .rows import ScanRow

MODE_BITS = 0o777  # a copy gets no setuid or setgid bit
FOLDER_MODE = 0o700  # until everything in it has been written
ASIDE_SUFFIX = b".part"
MAX_NAME_BYTES = 200  # of the name's part in the name aside; file systems allow 255 in all
_NEW = os.O_CREAT | os.O_EXCL
_WRITE = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class TargetTree:
    def __init__(self, root: bytes) -> None:
        self.root = from_home(root)
        self._checked_folders = {b""}
        self.is_checked = False  # ``expect`` was called
        self._expected: dict[bytes, ScanRow | None] = {}
        self._descriptors: dict[bytes, int] = {}
        self._lock = threading.Lock()

    def put(self, name: bytes, data: memoryview, mode: int, mtime_ns: int) -> None:
        """Write a file in one piece."""
        path = self.path(name)
        aside = aside_path(path, os.urandom(4).hex())
        descriptor = os.open(aside, _WRITE | _NEW, 0o600)
        try:
            try:
                _write_at(descriptor, data, 0)
                _set_attributes(descriptor, aside, mode, mtime_ns)
            finally:
                os.close(descriptor)
            self._replace(aside, path)
        except BaseException:
            _unlink(aside)
            raise

    def begin(self, name: bytes, key: str, size: int, needed: int, *, keep: bool = False) -> None:
        """Begin a file that is written in parts. ``key``: distinguishes versions of it; ``needed``: the bytes that take
        space; ``keep``: what an earlier attempt left."""
        path = self.path(name)
        _refuse_special(path)
        aside = aside_path(path, key)
        if not keep:
            self.discard(name, key)
        _refuse_full_disk(os.path.dirname(path), needed)
        descriptor = self._descriptor(aside)
        os.ftruncate(descriptor, size)

    def write(self, name: bytes, key: str, offset: int, data: memoryview) -> None:
        aside = aside_path(self.path(name), key)
        _write_at(self._descriptor(aside), data, offset)

    def finish(self, name: bytes, key: str, size: int, mode: int, mtime_ns: int) -> None:
        """All parts were written. Succeeds too where it did so before."""
        path = self.path(name)
        aside = aside_path(path, key)
        try:
            descriptor = self._descriptor(aside, create=False)
        except FileNotFoundError:
            status = os.lstat(path)
            if (status.st_size, status.st_mtime_ns) == (size, mtime_ns):
                return
            raise
        _set_attributes(descriptor, aside, mode, mtime_ns)
        self._close(aside)
        self._replace(aside, path)

    def discard(self, name: bytes, key: str) -> None:
        aside = aside_path(self.path(name), key)
        self._close(aside)
        _unlink(aside)

    def make_folder(self, name: bytes) -> bool:
        """Whether it was made now; it may exist. ``.`` is the root."""
        path = self.root if name == b"." else self.path(name)
        try:
            os.mkdir(path, FOLDER_MODE)
        except FileExistsError:
            status = os.stat(path) if name == b"." else os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                raise OSError(errno.ELOOP, "a symbolic link is in its place") from None
            if not stat.S_ISDIR(status.st_mode):
                raise
            return False
        return True

    def set_folder(self, name: bytes, mode: int, mtime_ns: int) -> None:
        path = self.root if name == b"." else self.path(name)
        os.chmod(path, mode & MODE_BITS)
        os.utime(path, ns=(mtime_ns, mtime_ns))

    def make_link(self, name: bytes, link: bytes, mtime_ns: int) -> None:
        """A symbolic link to ``link``, whatever that is."""
        path = self.path(name)
        with contextlib.suppress(FileNotFoundError):
            if os.path.islink(path) and os.readlink(path) == link:
                return
        aside = aside_path(path, os.urandom(4).hex())
        os.symlink(link, aside)
        try:
            if os.utime in os.supports_follow_symlinks:
                os.utime(aside, ns=(mtime_ns, mtime_ns), follow_symlinks=False)
            self._replace(aside, path)
        except BaseException:
            _unlink(aside)
            raise

    def remove(self, name: bytes) -> None:
        """A file, a link or an empty folder."""
        path = self.path(name)
        if stat.S_ISDIR(os.lstat(path).st_mode):
            os.rmdir(path)
            self._checked_folders.discard(name)  # a link may take its place
        else:
            os.unlink(path)

    def expect(self, rows: Mapping[bytes, ScanRow | None]) -> None:
        """Replace these paths only if they are as in ``rows``; None: only if there is nothing."""
        self.is_checked = True
        self._expected.update({os.path.join(self.root, name): row for name, row in rows.items()})

    def path(self, name: bytes) -> bytes:
        """Where it is. Raises ``OSError`` if ``name`` does not stay below the root, also by a symbolic link."""
        if not is_safe(name):
            raise OSError(errno.EINVAL, "its name is not allowed here")
        folder = name.rpartition(b"/")[0]
        if folder not in self._checked_folders:
            self._check_folder(folder)
        return os.path.join(self.root, name)

    def close(self) -> None:
        with self._lock:
            descriptors, self._descriptors = self._descriptors, {}
        for descriptor in descriptors.values():
            os.close(descriptor)

    def _replace(self, aside: bytes, path: bytes) -> None:
        _refuse_special(path)
        if path in self._expected:
            from .expected import check_is

            check_is(path, self._expected[path])
        os.replace(aside, path)
        self._expected.pop(path, None)

    def _check_folder(self, folder: bytes) -> None:
        path = self.root
        for part in folder.split(b"/"):
            path = os.path.join(path, part)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                raise OSError(errno.ELOOP, "its folder is a symbolic link here")
            if not stat.S_ISDIR(status.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        self._checked_folders.add(folder)

    def _descriptor(self, aside: bytes, *, create: bool = True) -> int:
        with self._lock:
            if aside not in self._descriptors:
                descriptor = os.open(aside, _WRITE | (os.O_CREAT if create else 0), 0o600)
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    os.close(descriptor)
                    raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
                self._descriptors[aside] = descriptor
            return self._descriptors[aside]

    def _close(self, aside: bytes) -> None:
        with self._lock:
            descriptor = self._descriptors.pop(aside, None)
        if descriptor is not None:
            os.close(descriptor)


def aside_path(path: bytes, key: str) -> bytes:
    """In the same folder, so that it can be renamed."""
    folder, name = os.path.split(path)
    return os.path.join(folder, b"." + name[:MAX_NAME_BYTES] + b"." + key.encode() + ASIDE_SUFFIX)


def _write_at(descriptor: int, data: memoryview, offset: int) -> None:
    if not hasattr(os, "pwrite"):
        os.lseek(descriptor, offset, os.SEEK_SET)
    while data:
        written = os.pwrite(descriptor, data, offset) if hasattr(os, "pwrite") else os.write(descriptor, data)
        offset, data = offset + written, data[written:]


def _set_attributes(descriptor: int, path: bytes, mode: int, mtime_ns: int) -> None:
    if hasattr(os, "fchmod") and os.utime in os.supports_fd:
        os.fchmod(descriptor, mode & MODE_BITS)
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))
    else:
        os.utime(path, ns=(mtime_ns, mtime_ns))
        os.chmod(path, mode & MODE_BITS)


def _refuse_special(path: bytes) -> None:
    """A file or a link is replaced; a folder, a device or a pipe is not."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise OSError(errno.EINVAL, "a device, pipe or socket is in its place")


def _refuse_full_disk(folder: bytes, needed: int) -> None:
    if not hasattr(os, "statvfs"):
        return
    space = os.statvfs(folder)
    if space.f_blocks and space.f_bavail * space.f_frsize < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _unlink(path: bytes) -> None:
    with contextlib.suppress(OSError):  # it is not there, or its folder is gone
        os.unlink(path)
