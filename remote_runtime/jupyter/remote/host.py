"""Identifies this machine. The login nodes of a cluster answer under one name and share a home folder, so a file there
may describe a server of another machine."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from typing import Any, NamedTuple

from ...launcher.remote.reply import ReportedError
from . import processes
from .data_dir import ALIVE, INFO, load_json

# run_server.py touches the file ALIVE every 20 s while its server lives.
ALIVE_TIMEOUT_S = 180.0


class Host(NamedTuple):
    """``id`` stays the same for the machine's life, ``boot`` until it restarts; ``boot`` is empty where the system does
    not report it. ``name`` is shown to people."""

    name: str
    id: str
    boot: str


def this_host() -> Host:
    name = socket.gethostname()
    if sys.platform.startswith("linux"):
        return Host(name, name, "/".join(filter(None, [processes.boot_id(), _pid_namespace()])))
    if sys.platform == "darwin":  # its name changes with its network
        registry = processes.output_of("/usr/sbin/ioreg", "-rd1", "-c", "IOPlatformExpertDevice")
        own = _quoted_value("IOPlatformUUID", registry)
        return Host(name, own or name, processes.output_of("/usr/sbin/sysctl", "-n", "kern.bootsessionuuid").strip())
    return Host(name, _machine_guid() or name, "")


def host_info() -> dict[str, str]:
    """As it is saved in a server's INFO file."""
    return dict(this_host()._asdict())


def machine_since(info: dict[str, Any]) -> str:
    """Whether this machine restarted since ``info`` was written: ``same``, ``restarted``, or empty where that is not
    known or another machine wrote it."""
    recorded, current = _recorded_host(info), this_host()
    if recorded is None or not recorded.boot or not current.boot:
        return ""
    if recorded.boot == current.boot:
        return "same"
    return "restarted" if recorded.id == current.id else ""


def other_host(directory: str) -> str:
    """The name of another machine on which the server of this folder may run; empty if it can only be this one."""
    info = load_json(os.path.join(directory, INFO))
    recorded, current = _recorded_host(info), this_host()
    if recorded is None or not info.get("pid"):
        return ""
    if recorded.id == current.id or (recorded.boot and recorded.boot == current.boot):
        return ""
    return recorded.name if _was_recently_alive(directory) else ""


def refuse_other_host(directory: str) -> None:
    """Raises ``ReportedError`` ``another-machine``."""
    other = other_host(directory)
    if other:
        raise ReportedError(
            "another-machine", f"This runtime's Jupyter runs on {other}, but the login reached {this_host().name}",
            "both have the same name and home directory", f"Set that host in the profile: `target.host: {other}`",
        )  # fmt: skip


def _recorded_host(info: dict[str, Any]) -> Host | None:
    recorded = info.get("host")
    if not isinstance(recorded, dict) or not all(isinstance(recorded.get(key), str) for key in Host._fields):
        return None
    return Host(**{key: recorded[key] for key in Host._fields})


def _was_recently_alive(directory: str) -> bool:
    """By the file system's clock, which is another machine's. True without an ALIVE file: older servers have none."""
    try:
        touched_at = os.stat(os.path.join(directory, ALIVE)).st_mtime
    except OSError:
        return True
    probe = os.path.join(directory, f"now.{os.getpid()}")
    now = time.time()
    with contextlib.suppress(OSError):
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600))
        now = os.stat(probe).st_mtime
        os.unlink(probe)
    return now - touched_at < ALIVE_TIMEOUT_S


def _pid_namespace() -> str:
    """Containers of one machine share its boot, and have pid namespaces of their own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _machine_guid() -> str:
    if sys.platform != "win32":
        return ""
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography") as key:
            return str(winreg.QueryValueEx(key, "MachineGuid")[0])
    except OSError:
        return ""


def _quoted_value(word: str, text: str) -> str:
    """The value in ``"WORD" = "VALUE"``."""
    return next((line.split('"')[3] for line in text.splitlines() if f'"{word}"' in line and line.count('"') > 3), "")
