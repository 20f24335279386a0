"""Private files and directories of this user: no link is followed, no file of another user read, no FIFO opened."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

MAX_UNIX_PATH_BYTES = 100  # bytes; 104 on macOS, 108 on Linux, with the final NUL
# Temporary files of `write_private` and others, with the pid of the writer.
_TEMPORARY_NAME = re.compile(r"\.([0-9]+)\.(?:tmp|new)")
_MAX_TEMPORARY_AGE_S = 3600.0
_SAFE_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def open_private(path: Path | str, flags: int) -> int:
    """A descriptor of a regular file of this user; a new file gets the mode 0600. Raises ``OSError``."""
    descriptor = os.open(path, flags | _SAFE_FLAGS, 0o600)
    why = _refusal_reason(os.fstat(descriptor), (stat.S_ISREG,))
    if why:
        os.close(descriptor)
        raise OSError(errno.EPERM, why, str(path))
    return descriptor


def read_private(path: Path) -> bytes:
    """Raises ``OSError``."""
    with os.fdopen(open_private(path, os.O_RDONLY), "rb") as file:
        return file.read()


def write_private(path: Path, content: bytes) -> None:
    """Replace the file atomically, mode 0600. After a power failure it has the old or the new content, complete."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = open_private(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def ensure_private_dir(directory: Path) -> None:
    """Make the directory if it is missing, and set its mode to 0700. Temporary files of killed processes are removed,
    as they may hold secrets.

    Raises ``OSError``, also if another user made a link in its path or an entry in it. After that, only this user can
    add entries.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sys.platform != "win32":
        for part in (directory, *directory.parents):
            status = part.lstat()
            if stat.S_ISLNK(status.st_mode) and status.st_uid not in (0, os.geteuid()):
                raise OSError(errno.EPERM, f"it is a link of user id {status.st_uid}", str(part))
        status = directory.stat()
        if status.st_uid != os.geteuid():
            raise OSError(errno.EPERM, f"it belongs to user id {status.st_uid}", str(directory))
        if stat.S_IMODE(status.st_mode) & 0o077:
            directory.chmod(0o700)
    with os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                why = _refusal_reason(status, (stat.S_ISREG, stat.S_ISDIR, stat.S_ISSOCK))
                if why:
                    raise OSError(errno.EPERM, why, entry.path)
                temporary = _TEMPORARY_NAME.search(entry.name)
                if temporary and temporary.end() == len(entry.name) and _is_stale(int(temporary[1]), status.st_mtime):
                    os.unlink(entry.path)


@contextmanager
def socket_path(path: Path) -> Iterator[str]:
    """A path for a unix socket, shortened if possible. Raises ``OSError`` if it is too long."""
    if len(os.fsencode(path)) <= MAX_UNIX_PATH_BYTES:
        yield str(path)
    elif Path("/proc/self/fd").is_dir():
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            yield f"/proc/self/fd/{directory}/{path.name}"
        finally:
            os.close(directory)
    else:
        raise OSError(
            errno.ENAMETOOLONG, f"the path of a unix socket has at most {MAX_UNIX_PATH_BYTES} bytes", str(path)
        )


def _refusal_reason(status: os.stat_result, kinds: Sequence[Callable[[int], bool]]) -> str:
    if sys.platform == "win32":
        return ""
    if status.st_uid != os.geteuid():
        return f"it belongs to user id {status.st_uid}"
    return "" if any(kind(status.st_mode) for kind in kinds) else "it is a link, a FIFO or a device"


def _is_stale(pid: int, modified: float) -> bool:
    """Whether the writer of a temporary file is gone; a live one takes only a moment."""
    if time.time() - modified > _MAX_TEMPORARY_AGE_S or sys.platform == "win32":
        return time.time() - modified > _MAX_TEMPORARY_AGE_S
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # a live process of another user
    return False
