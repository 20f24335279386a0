"""Checks whether the remote-runtime directory can hold an environment: space, quota, inodes, and that programs may be
run there."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile

from ...launcher.remote.reply import ReportedError
from .data_dir import make_private_dir, root_dir, write_private

# A private environment has about 150 MB in 11,000 files, with JupyterLab 240 MB in 18,000; less on a file system that
# compresses.
MIN_BYTES = 64 * 1024 * 1024
MIN_FILES = 5000
# Below this the disk counts as full: a program that failed removes its files.
FULL_BYTES = 1024 * 1024
FULL_FILES = 100
ERROR_TEXTS = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT))


def refuse_unfit(folder: str) -> None:
    """Raises ``ReportedError`` ``disk-full`` or ``jupyter-install-failed``, before minutes are spent on an
    environment."""
    missing = shortage(folder, MIN_BYTES, MIN_FILES)
    if missing:
        raise disk_full_error(
            f"{missing}; a private environment for Jupyter needs about 150 MB, and 240 MB with JupyterLab"
        )
    refused = exec_refusal(folder)
    if refused:
        raise ReportedError(
            "jupyter-install-failed",
            "Can't create a private environment in this home directory",
            f"programs in {folder} can't be run ({refused}): it is mounted noexec, or a security policy forbids it",
            "Set a Python elsewhere that has jupyter_server and ipykernel: `jupyter.python`",
        )


def disk_full_cause(output: str) -> ReportedError | None:
    """``disk-full`` if that is why a program failed: by its output, or by the free space now."""
    for folder in (root_dir(), tempfile.gettempdir()):
        lacking = shortage(folder, FULL_BYTES, FULL_FILES)
        if lacking:
            return disk_full_error(lacking)
    for words in ERROR_TEXTS:
        if words in output:
            return disk_full_error(
                f"a program reported: {words}; it writes to {root_dir()} and {tempfile.gettempdir()}"
            )
    return None


def disk_full_error(why: str) -> ReportedError:
    return ReportedError("disk-full", "The machine's disk is full", why)


def shortage(folder: str, min_bytes: int, min_files: int) -> str:
    """What the folder's file system lacks, for people; empty if it has enough or does not report it."""
    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    if not hasattr(os, "statvfs"):
        return ""
    try:
        space = os.statvfs(folder)
    except OSError:
        return ""
    left = space.f_bavail * space.f_frsize
    if space.f_blocks and left < min_bytes:
        return f"{left // 1_000_000} MB left for {folder}"
    if space.f_files and space.f_favail < min_files:  # f_files is 0 without a limit
        return f"{space.f_favail} inodes left for {folder}"
    return ""


def exec_refusal(folder: str) -> str:
    """Why programs in the folder cannot be run, for people; empty if they can."""
    if os.name == "nt":
        return ""
    path = os.path.join(make_private_dir(folder), "may-run")
    write_private(path, "#!/bin/sh\n")
    try:
        os.chmod(path, 0o700)
        subprocess.run([path], stdin=subprocess.DEVNULL, timeout=10, check=False)
    except PermissionError as exc:
        return str(exc.strerror)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    finally:
        os.unlink(path)
    return ""
