"""Whether our folder can hold an environment: space, quota, inodes, and that programs in it may be run."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile

from .data_dir import make_private, our_folder, write_private
from .reply import Failure

# A private environment has about 150 MB in 11,000 files; a file system that compresses stores it in less.
LEAST_BYTES = 64 * 1024 * 1024
LEAST_FILES = 5000
# Less than this is full: what a program that failed has removed again.
FULL_BYTES = 1024 * 1024
FULL_FILES = 100
WORDS = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT))


def refuse_unfit(folder: str) -> None:
    """Raises ``Failure`` ``disk-full`` or ``jupyter-install-failed`` before minutes are spent on an environment."""
    lacking = lack_of(folder, LEAST_BYTES, LEAST_FILES)
    if lacking:
        raise full(f"{lacking}; a private environment for Jupyter needs about 150 MB")
    refused = runs_nothing(folder)
    if refused:
        raise Failure(
            "jupyter-install-failed",
            "No private environment can be made in this home folder",
            f"programs below {folder} cannot be run ({refused}): it is mounted noexec, or a security policy forbids it",
            "Name a Python elsewhere that has jupyter_server and ipykernel: `jupyter.python`",
        )


def full_disk(said: str) -> Failure | None:
    """The ``Failure`` ``disk-full`` if that is why a program failed: by its words, or as the disks are now."""
    for folder in (our_folder(), tempfile.gettempdir()):
        lacking = lack_of(folder, FULL_BYTES, FULL_FILES)
        if lacking:
            return full(lacking)
    for words in WORDS:
        if words in said:
            return full(f"a program said: {words}; it writes to {our_folder()} and {tempfile.gettempdir()}")
    return None


def full(why: str) -> Failure:
    return Failure("disk-full", "The machine's disk is full", why)


def lack_of(folder: str, least_bytes: int, least_files: int) -> str:
    """What the folder's file system has too little of, in words; empty if it has enough or does not say."""
    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    if not hasattr(os, "statvfs"):
        return ""
    try:
        space = os.statvfs(folder)
    except OSError:
        return ""
    left = space.f_bavail * space.f_frsize
    if space.f_blocks and left < least_bytes:
        return f"{left // 1_000_000} MB left for {folder}"
    if space.f_files and space.f_favail < least_files:  # a file system without a limit says 0 files
        return f"{space.f_favail} inodes left for {folder}"
    return ""


def runs_nothing(folder: str) -> str:
    """Why a program in the folder is not run, in words; empty if it is."""
    if os.name == "nt":
        return ""
    path = os.path.join(make_private(folder), "may-run")
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
