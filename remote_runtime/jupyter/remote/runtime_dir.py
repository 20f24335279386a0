"""Jupyter's runtime folder, with a path short enough for the unix sockets of its kernels.

A kernel that listens on TCP shows each cell and its output to every user of the machine: a subscriber needs no
key. jupyter_client's other transport, ``ipc``, makes five sockets a kernel, named after its connection file in this
folder (``kernel-UUID-ipc-N``). A socket's path has at most 107 bytes (unix(7); macOS: 103), so the folder is made where
paths are short, and a file in the server's directory names it (a link would need a file system that has links).
``$XDG_RUNTIME_DIR`` is no place for it: it goes with the user's last login, and servers outlive logins.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import sys

from . import processes
from .data_dir import make_private_dir, root_dir, write_private

PATH_FILE = "runtime-folder"
PREFIX = "remote-runtime-"
SAMPLE_SOCKET_NAME = "kernel-01234567-89ab-cdef-0123-456789abcdef-ipc-99"


def create(directory: str) -> bool:
    """Makes the folder of the server in ``directory``, and removes an earlier one. Returns False if kernels can have no
    sockets on this machine; then the folder is below ``directory``."""
    remove(directory)
    short, path_file = "/tmp", os.path.join(directory, PATH_FILE)  # noqa: S108  # a new folder of mode 0700 in it
    for parent in (short, os.environ.get("TMPDIR") or short, root_dir()):
        path = os.path.join(parent, PREFIX + os.urandom(4).hex())
        # Before the folder is made, so that it is found if this process is killed now.
        write_private(path_file, path)
        with contextlib.suppress(OSError):
            # Fails if the name is taken, also by another user's link.
            os.mkdir(path, 0o700)
            if supports_sockets(path):
                return True
            os.rmdir(path)
    os.unlink(path_file)
    make_private_dir(path_of(directory))
    return False


def path_of(directory: str) -> str:
    return processes.read_text(os.path.join(directory, PATH_FILE)) or os.path.join(directory, "runtime")


def remove(directory: str) -> None:
    """Keeps a folder of that name that is not the user's: another user may have made it after a reboot."""
    path = path_of(directory)
    with contextlib.suppress(OSError):
        status = os.lstat(path)
        is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == processes.own_uid()
        if is_ours and os.path.basename(path).startswith(PREFIX):
            shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(directory, PATH_FILE))


def supports_sockets(path: str) -> bool:
    """Whether a kernel's socket can be made there: that depends on the path's length, the system and the file
    system."""
    if sys.platform == "win32":
        return False
    probe = os.path.join(path, SAMPLE_SOCKET_NAME)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(probe)
        os.unlink(probe)
    except OSError:
        return False
    return True
