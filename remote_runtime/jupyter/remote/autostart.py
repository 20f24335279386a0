"""Starts a command again after a reboot: by cron where it runs, else by systemd for the user, else not at all."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess

from . import processes
from .data_dir import root_dir, write_private

CRONS = ("cron", "crond", "fcron", "cronie")


def install(key: str, command: list[str]) -> str:
    """``cron``, ``systemd``, or empty: it will not be started again. Idempotent."""
    line = " ".join(f"'{part}'" for part in command).replace("%", "\\%")
    if not all(part.isprintable() and "'" not in part for part in command):
        return ""
    others = _other_lines(key) if shutil.which("crontab") and _is_running(*CRONS) else None
    if others is not None:
        if others and not others[-1].endswith(b"\n"):
            others[-1] += b"\n"
        if _write_crontab([*others, f"@reboot {line}".encode() + _marker(key) + b"\n"]):
            return "cron"
    return "systemd" if _enable_unit(key, command) else ""


def remove(key: str) -> None:
    """Whatever ``hook`` did, now or earlier."""
    if shutil.which("crontab"):
        others, lines = _other_lines(key), _crontab()
        if others is not None and lines is not None and len(others) != len(lines):
            _write_crontab(others)
    unit = _unit_path(key)
    if os.path.exists(unit):
        _succeeds("systemctl", "--user", "disable", os.path.basename(unit))
        os.unlink(unit)
    if not glob.glob(_unit_path("*")):
        disable_user_units()


def _marker(key: str) -> bytes:
    return f" # remote-runtime {key}".encode()


def _other_lines(key: str) -> list[bytes] | None:
    """The lines that are not ours, each with its end; None when the table cannot be read."""
    lines = _crontab()
    return None if lines is None else [line for line in lines if not line.rstrip(b"\n").endswith(_marker(key))]


def _crontab() -> list[bytes] | None:
    try:
        done = subprocess.run(["crontab", "-l"], stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return [] if b"no crontab" in done.stderr else None
    lines = done.stdout.split(b"\n")
    return [*(line + b"\n" for line in lines[:-1]), *([lines[-1]] if lines[-1] else [])]


def _write_crontab(lines: list[bytes]) -> bool:
    if not lines:
        return _succeeds("crontab", "-r")
    try:
        done = subprocess.run(
            ["crontab", "-"], input=b"".join(lines), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _enable_unit(key: str, command: list[str]) -> bool:
    """A user's units start at the boot only if the user lingers; see loginctl(1)."""
    if not shutil.which("systemctl") or not _succeeds("systemctl", "--user", "is-system-running", "--quiet", ok=(0, 1)):
        return False
    if not _enable_user_units():
        return False
    unit = _unit_path(key)
    os.makedirs(os.path.dirname(unit), exist_ok=True)
    quoted = " ".join(
        '"{}"'.format(part.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")) for part in command
    )
    write_private(
        unit,
        f"[Unit]\nDescription=remote-runtime: watches for idleness ({key})\n"
        f"[Service]\nExecStart={quoted}\n[Install]\nWantedBy=default.target\n",
    )
    return _succeeds("systemctl", "--user", "enable", os.path.basename(unit))


def _enable_user_units() -> bool:
    """Whether the user's units start at the boot now. What was so before is noted down, for ``stop_lingering``."""
    if _output_of("loginctl", "show-user", str(processes.own_uid()), "--property=Linger").strip() == "Linger=yes":
        return True
    write_private(_user_units_note(), "")
    if _succeeds("loginctl", "enable-linger"):
        return True
    os.unlink(_user_units_note())
    return False


def disable_user_units() -> None:
    """If it was ``hook`` that began it."""
    if os.path.exists(_user_units_note()) and _succeeds("loginctl", "disable-linger"):
        os.unlink(_user_units_note())


def _user_units_note() -> str:
    return os.path.join(root_dir(), "lingers")


def _unit_path(key: str) -> str:
    return os.path.join(os.path.expanduser("~"), ".config", "systemd", "user", f"remote-runtime-{key}.service")


def _is_running(*names: str) -> bool:
    return any(os.path.basename(process.command.split(" ", 1)[0]) in names for process in processes.list_processes())


def _succeeds(*command: str, ok: tuple[int, ...] = (0,)) -> bool:
    done = _run(*command)
    return done is not None and done.returncode in ok


def _output_of(*command: str) -> str:
    done = _run(*command)
    return done.stdout.decode("utf-8", "replace") if done is not None else ""


def _run(*command: str) -> subprocess.CompletedProcess[bytes] | None:
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
