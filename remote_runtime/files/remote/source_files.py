"""Reads files and folders. Symbolic links are listed as links, and never followed."""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator

from .names import from_home

FILE, FOLDER, LINK, SPECIAL, ERROR = "file", "folder", "link", "special", "error"
MAX_OPEN_FILES = 16
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# A pipe that has replaced the file must not block.
_READ |= getattr(os, "O_NONBLOCK", 0)


class Entry:
    """``name``: relative to the folder that was listed, empty for itself. ``link``: what a link points to, or why
    there is an error."""

    __slots__ = ("kind", "link", "mode", "mtime_ns", "name", "size")

    def __init__(
        self, name: bytes, kind: str, size: int = 0, mode: int = 0, mtime_ns: int = 0, link: bytes = b""
    ) -> None:
        self.name, self.kind, self.size, self.mode, self.mtime_ns, self.link = name, kind, size, mode, mtime_ns, link


def find_sources(path: bytes) -> list[tuple[bytes, Entry, bytes]]:
    """What a path that the user typed means: the paths with their entries, and where they really are: a link is
    followed. ``*``, ``?`` and ``[`` match names where no file has that name. Empty if there is nothing."""
    path = from_home(path)
    found = [path]
    if not os.path.lexists(path):
        import glob  # slow, and rarely needed

        found = sorted(glob.glob(path))
    return [(each, describe(os.path.realpath(each), b""), os.path.realpath(each)) for each in found]


def describe(path: bytes, name: bytes) -> Entry:
    """The entry of ``path``."""
    try:
        return _entry(path, name, os.lstat(path))
    except OSError as exc:
        return Entry(name, ERROR, link=os.fsencode(exc.strerror or str(exc)))


def list_tree(path: bytes) -> Iterator[Entry]:
    """All below a folder, a folder before what is in it."""
    folders = [(path, b"")]
    while folders:
        folder, prefix = folders.pop()
        try:
            with os.scandir(folder) as scan:
                children = sorted(scan, key=lambda child: child.name)
        except OSError as exc:
            yield Entry(prefix[:-1], ERROR, link=os.fsencode(exc.strerror or str(exc)))
            continue
        for child in children:
            name = prefix + child.name
            try:
                entry = _entry(child.path, name, child.stat(follow_symlinks=False))
            except OSError as exc:
                entry = Entry(name, ERROR, link=os.fsencode(exc.strerror or str(exc)))
            if entry.kind == FOLDER:
                folders.append((child.path, name + b"/"))
            yield entry


def open_file(path: bytes) -> int:
    """Its descriptor. Raises ``OSError`` if it is no regular file."""
    descriptor = os.open(path, _READ)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file")
    return descriptor


def read_file(path: bytes, size: int) -> tuple[bytes, int]:
    """At most ``size`` bytes, and the time of the last change. Raises ``OSError``."""
    descriptor = open_file(path)
    try:
        parts, missing = [], size
        while missing > 0:
            part = os.read(descriptor, missing)
            if not part:
                break
            parts.append(part)
            missing -= len(part)
        return (parts[0] if len(parts) == 1 else b"".join(parts)), os.fstat(descriptor).st_mtime_ns
    finally:
        os.close(descriptor)


def is_hole(descriptor: int, offset: int, length: int) -> bool:
    """Whether this part of a file takes no space and reads as zeros."""
    if not hasattr(os, "SEEK_DATA"):
        return False
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA) >= offset + length
    except OSError as exc:
        return exc.errno == errno.ENXIO


def may_have_holes(status: os.stat_result) -> bool:
    return sys.platform != "win32" and status.st_blocks * 512 < status.st_size


class OpenFiles:
    """The files that were read last, for one thread."""

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.Lock()

    def descriptor(self, path: bytes) -> int:
        with self._lock:
            if path in self._open:
                self._open.move_to_end(path)
                return self._open[path]
            while len(self._open) >= MAX_OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
            self._open[path] = open_file(path)
            return self._open[path]

    def close(self) -> None:
        with self._lock:
            while self._open:
                os.close(self._open.popitem()[1])


def _entry(path: bytes, name: bytes, status: os.stat_result) -> Entry:
    mode, mtime_ns = stat.S_IMODE(status.st_mode), status.st_mtime_ns
    if stat.S_ISREG(status.st_mode):
        return Entry(name, FILE, status.st_size, mode, mtime_ns)
    if stat.S_ISDIR(status.st_mode):
        return Entry(name, FOLDER, 0, mode, mtime_ns)
    if stat.S_ISLNK(status.st_mode):
        return Entry(name, LINK, 0, mode, mtime_ns, os.readlink(path))
    return Entry(name, SPECIAL, 0, mode, mtime_ns)
