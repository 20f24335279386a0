"""The account that commands on the demo machine run in: home, shell, environment."""

from __future__ import annotations

import getpass
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..processes import MARKER

# Windows starts no program without some of these; the others set the encoding.
_INHERITED = ("LANG", "LC_ALL", "LC_CTYPE", "TZ", "SYSTEMROOT", "WINDIR", "COMSPEC", "PATHEXT", "SYSTEMDRIVE")


@dataclass(frozen=True)
class Account:
    """``user`` is the current one, but ``home`` is the machine's own. ``extra_environment``: the
    variables that point to the emulated Google APIs."""

    user: str
    home: Path
    machine_id: str
    extra_environment: dict[str, str] = field(default_factory=dict)

    def environment(self, requested: Mapping[str, str]) -> dict[str, str]:
        """``requested``: of the SSH client; only the locale and the terminal are accepted, as by sshd."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        accepted = {
            name: value for name, value in requested.items() if name in ("LANG", "TERM") or name.startswith("LC_")
        }
        home = str(self.home)
        own = {"HOME": home, "USER": self.user, "LOGNAME": self.user, "PATH": _path(), MARKER: self.machine_id}
        if os.name == "nt":
            local = str(self.home / "AppData" / "Local")
            own |= {"USERPROFILE": home, "USERNAME": self.user, "TEMP": local, "TMP": local}
            own |= {"LOCALAPPDATA": local, "APPDATA": str(self.home / "AppData" / "Roaming")}
        else:
            own["SHELL"] = _shell()
        return inherited | accepted | self.extra_environment | own

    def prepare(self) -> None:
        """Creates the home. The system's login files replace PATH: ``.profile`` puts our Python first again."""
        self.home.mkdir(mode=0o700)
        if os.name == "nt":
            (self.home / "AppData" / "Local").mkdir(parents=True)
            (self.home / "AppData" / "Roaming").mkdir()
        else:
            line = f'PATH={shlex.quote(os.path.dirname(sys.executable))}:"$PATH"\nexport PATH\n'
            (self.home / ".profile").write_text(line, encoding="utf-8")

    def argv(self, command: str | None) -> Sequence[str]:
        """The program for ``command``, or for an interactive shell."""
        if os.name == "nt":
            shell = os.environ.get("COMSPEC", "cmd.exe")
            return [shell] if command is None else [shell, "/d", "/s", "/c", command]
        return [_shell(), "-l"] if command is None else ["/bin/sh", "-c", command]


def current_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a uid without a name, as in containers
        return "demo"


def _path() -> str:
    system = os.environ.get("PATH", os.defpath) if os.name == "nt" else "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    return os.pathsep.join((os.path.dirname(sys.executable), system))


def _shell() -> str:
    return "/bin/bash" if os.access("/bin/bash", os.X_OK) else "/bin/sh"
