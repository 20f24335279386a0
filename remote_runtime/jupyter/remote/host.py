"""Which machine this is. Several may answer under one name and share a home folder, as login nodes of a cluster do:
what a file there says of a server may be true of another machine."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from typing import Any, NamedTuple

from .data_dir import ALIVE, INFO, load_json
from .reply import ReportedError

# boot.py says this often that its server lives; a machine that has not said so for longer is off, or gone for good.
ALIVE_TIMEOUT_S = 180.0


class Host(NamedTuple):
    """``id``: stays for the machine's life; ``boot``: until it restarts, and empty where the system does not tell.
    ``name``: for people."""

    name: str
    id: str
    boot: str


def this_host() -> Host:
    name = socket.gethostname()
    if sys.platform.startswith("linux"):
        return Host(name, name, "/".join(filter(None, [_boot_id(), _pid_namespace()])))
    if sys.platform == "darwin":  # its name changes with its network
        own = _quoted_value("IOPlatformUUID", _output_of("/usr/sbin/ioreg", "-rd1", "-c", "IOPlatformExpertDevice"))
        return Host(name, own or name, _output_of("/usr/sbin/sysctl", "-n", "kern.bootsessionuuid").strip())
    return Host(name, _machine_guid() or name, "")


def host_info() -> dict[str, str]:
    """What is written down beside a server that starts here."""
    return dict(this_host()._asdict())


def machine_since(info: dict[str, Any]) -> str:
    """What became of this machine since ``info`` was written: ``same``, ``restarted``, or empty where that is not
    known, or was noted on another one."""
    recorded, current = _recorded_host(info), this_host()
    if recorded is None or not recorded.boot or not current.boot:
        return ""
    if recorded.boot == current.boot:
        return "same"
    return "restarted" if recorded.id == current.id else ""


def other_host(directory: str) -> str:
    """The name of another machine on which the server of this folder may live; empty where it can only be this one."""
    info = load_json(os.path.join(directory, INFO))
    recorded, current = _recorded_host(info), this_host()
    if (
        recorded is None
        or not info.get("pid")
        or recorded.id == current.id
        or (recorded.boot and recorded.boot == current.boot)
    ):
        return ""
    return recorded.name if _was_recently_alive(directory) else ""


def refuse_other_host(directory: str) -> None:
    """Raises ``Failure`` ``another-machine``."""
    other = other_host(directory)
    if other:
        raise ReportedError(
            "another-machine", f"Jupyter of this runtime runs on {other}, and the login reached {this_host().name}",
            "both have the same name and home folder", f"Name it in the profile: target.host: {other}",
        )  # fmt: skip


def _recorded_host(info: dict[str, Any]) -> Host | None:
    recorded = info.get("host")
    if not isinstance(recorded, dict) or not all(isinstance(recorded.get(key), str) for key in Host._fields):
        return None
    return Host(**{key: recorded[key] for key in Host._fields})


def _was_recently_alive(directory: str) -> bool:
    """By the clock of the file system, which is another machine's: a server that never said so may be alive."""
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


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
            return handle.read().strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    """Containers of one machine were started together with it, and see processes of their own."""
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


def _output_of(*command: str) -> str:
    import subprocess

    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")
