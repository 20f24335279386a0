"""Starts a command again after a reboot: by cron where it runs, else by the user's systemd, else not at all."""

from __future__ import annotations

import glob
import os
import shutil

from . import processes
from .data_dir import root_dir, write_private

TIMEOUT_S = 20.0
CRONS = ("cron", "crond", "fcron", "cronie")


def install(key: str, command: list[str]) -> str:
    """Returns how it will be started: ``cron``, ``systemd``, or empty (not at all). Idempotent."""
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
    """Undoes ``install``."""
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
    """The lines of others, each with its line end; None when the table cannot be read."""
    lines = _crontab()
    return None if lines is None else [line for line in lines if not line.rstrip(b"\n").endswith(_marker(key))]


def _crontab() -> list[bytes] | None:
    done = processes.try_run("crontab", "-l", timeout_s=TIMEOUT_S)
    if done is None:
        return None
    if done.returncode != 0:
        return [] if b"no crontab" in done.stderr else None
    lines = done.stdout.split(b"\n")
    return [*(line + b"\n" for line in lines[:-1]), *([lines[-1]] if lines[-1] else [])]


def _write_crontab(lines: list[bytes]) -> bool:
    return _succeeds("crontab", "-", stdin=b"".join(lines)) if lines else _succeeds("crontab", "-r")


def _enable_unit(key: str, command: list[str]) -> bool:
    """A user's units start at boot only if lingering is enabled for the user; see loginctl(1)."""
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
    """Returns whether the user's units start at boot now. A file records for ``disable_user_units`` that this call
    enabled it."""
    user = str(processes.own_uid())
    if processes.output_of("loginctl", "show-user", user, "--property=Linger", timeout_s=TIMEOUT_S) == "Linger=yes\n":
        return True
    write_private(_user_units_note(), "")
    if _succeeds("loginctl", "enable-linger"):
        return True
    os.unlink(_user_units_note())
    return False


def disable_user_units() -> None:
    """If ``install`` enabled them."""
    if os.path.exists(_user_units_note()) and _succeeds("loginctl", "disable-linger"):
        os.unlink(_user_units_note())


def _user_units_note() -> str:
    return os.path.join(root_dir(), "lingers")


def _unit_path(key: str) -> str:
    return os.path.join(os.path.expanduser("~"), ".config", "systemd", "user", f"remote-runtime-{key}.service")


def _is_running(*names: str) -> bool:
    return any(os.path.basename(process.command.split(" ", 1)[0]) in names for process in processes.list_processes())


def _succeeds(*command: str, stdin: bytes = b"", ok: tuple[int, ...] = (0,)) -> bool:
    done = processes.try_run(*command, stdin=stdin, timeout_s=TIMEOUT_S)
    return done is not None and done.returncode in ok
