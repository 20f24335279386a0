"""The remote-runtime directory on the machine, ``~/.local/share/remote-runtime/``: private files, atomic writes,
locks."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

from ...launcher.remote.reply import ReplyWriter, ReportedError
from . import processes
from .request import BridgeFiles

PACKAGE = "remote_runtime_bridge"
INFO = "info.json"
CONFIG = "config.json"
LOG = "server.log"
SOCKET = "sock"
NEXT_TOKEN = "token.new"  # noqa: S105  # a file name, no secret
IDLE = "idle.json"
OUTPUTS = "outputs"
ALIVE = "alive"
WATCHDOG_PROGRAM = "watch.py"
LOCK = "lock"


def root_dir() -> str:
    """Without HOME, ``expanduser`` reads the password database."""
    return os.path.join(os.path.expanduser("~"), ".local", "share", "remote-runtime")


def server_directory(key: str) -> str:
    return os.path.join(root_dir(), "servers", os.path.basename(key))


def make_private_dir(directory: str) -> str:
    """Makes ``directory`` and its parents up to the remote-runtime directory, each mode 0700.

    Raises ``ReportedError`` if the remote-runtime directory belongs to another user, or the home folder does not exist
    or has a name that is not UTF-8.
    """
    root, level, home = root_dir(), directory, os.path.expanduser("~")
    if not os.path.isdir(home):
        raise ReportedError(
            "folder-unusable",
            "The home directory does not exist on the machine",
            home,
            "Ask an administrator to create it, or set another login: `ssh.user`",
        )
    if any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in home):
        raise ReportedError(
            "folder-unusable",
            "The home directory's name on the machine is not valid UTF-8",
            repr(home),
            "Set another login: `ssh.user`",
        )
    os.makedirs(directory, mode=0o700, exist_ok=True)
    if os.name != "nt" and os.stat(root).st_uid != processes.own_uid():
        raise ReportedError(
            "folder-unusable", "The remote-runtime directory on the machine belongs to another user", root
        )
    while len(level) >= len(root):
        os.chmod(level, 0o700)
        level = os.path.dirname(level)
    return directory


def write_private(path: str, text: str) -> None:
    """Writes the file with mode 0600, and replaces an older one atomically."""
    aside = path + ".new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(aside)
    with open(
        os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", newline="\n"
    ) as handle:
        handle.write(text)
    os.replace(aside, path)


def load_json(path: str) -> dict[str, Any]:
    """The JSON object in the file; empty when it is absent or damaged."""
    try:
        with open(path, encoding="utf-8") as handle:
            value = json.load(handle)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


@contextlib.contextmanager
def locked(path: str, reply: ReplyWriter, *, why: str) -> Iterator[None]:
    """Holds the lock file ``path``. Waits for it as long as the client waits; ``why`` is shown meanwhile.

    The holder may remove the file: a waiting process notices that, and starts again with a new file.
    """
    reported = False
    while True:
        make_private_dir(os.path.dirname(path))
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue
        try:
            if _try_lock(handle) and _is_same_file(handle, path):
                yield
                return
        finally:
            os.close(handle)
        if not reported:
            reply.progress(why)
            reported = True
        if reply.remaining_s() == 0.0:
            raise ReportedError("machine-busy", "Another remote-runtime is using this server", why)
        reply.sleep(0.1)


def is_locked(path: str) -> bool:
    """Whether a process holds the lock file now."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _try_lock(handle)
    finally:
        os.close(handle)


def install_bridge(bridge: BridgeFiles) -> str:
    """The directory of the bridge, named after its content hash; replaced if it is incomplete or changed."""
    target = os.path.join(root_dir(), "bridge", bridge.digest)
    if _is_installed(target, bridge):
        return target
    aside = target + ".new"
    shutil.rmtree(aside, ignore_errors=True)
    for name, text in bridge.files.items():
        path = os.path.join(aside, *name.split("/"))
        make_private_dir(os.path.dirname(path))
        write_private(path, text)
    shutil.rmtree(target, ignore_errors=True)
    os.rename(aside, target)
    return target


def clear(directory: str, *, keep: str) -> None:
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if name == keep:
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def remove_content_dir(path: str) -> None:
    """Removes the ``content`` folder that a start made, if it is empty."""
    if path:
        with contextlib.suppress(OSError):
            os.rmdir(path)


def remove_server(directory: str) -> None:
    """The caller has its lock. Windows cannot remove an open lock file; ``remove_unused`` does that."""
    shutil.rmtree(directory, ignore_errors=True)


def remove_unused(reply: ReplyWriter) -> None:
    """Removes the bridges that no server uses, and empty folders."""
    for directory in server_directories():
        if os.name == "nt" and os.listdir(directory) == [LOCK]:
            shutil.rmtree(directory, ignore_errors=True)
    bridges = os.path.join(root_dir(), "bridge")
    if os.path.isdir(bridges):
        with locked(os.path.join(bridges, LOCK), reply, why="Waiting for another start on the machine"):
            used = {load_json(os.path.join(other, INFO)).get("bridge_digest") for other in server_directories()}
            for name in os.listdir(bridges):
                if name not in used and name != LOCK:
                    shutil.rmtree(os.path.join(bridges, name), ignore_errors=True)
            if os.listdir(bridges) == [LOCK]:
                os.unlink(os.path.join(bridges, LOCK))
    for directory in (bridges, os.path.join(root_dir(), "servers"), os.path.join(root_dir(), "clusters"), root_dir()):
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def server_directories() -> list[str]:
    servers = os.path.join(root_dir(), "servers")
    return [os.path.join(servers, name) for name in sorted(os.listdir(servers))] if os.path.isdir(servers) else []


def running_clusters() -> list[str]:
    """The folders of clusters of which a process runs on this machine."""
    clusters = os.path.join(root_dir(), "clusters")
    names = sorted(os.listdir(clusters)) if os.path.isdir(clusters) else []
    infos = {name: load_json(os.path.join(clusters, name, INFO)) for name in names}
    return [
        name
        for name, info in infos.items()
        if isinstance(info.get("pid"), int) and processes.start_id(info["pid"]) == info.get("birth") != ""
    ]


def _is_installed(target: str, bridge: BridgeFiles) -> bool:
    try:
        for name, text in bridge.files.items():
            with open(os.path.join(target, *name.split("/")), "rb") as handle:
                if handle.read() != text.encode("utf-8"):
                    return False
    except OSError:
        return False
    return True


def _try_lock(handle: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:
        # Some network file systems have no locks: then two starts at the same moment are possible.
        return exc.errno in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
    return True


def _is_same_file(handle: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False
