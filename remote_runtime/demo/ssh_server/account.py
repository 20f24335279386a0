"""The account that commands on the demo machine run in: home, shell, environment."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..processes import MARKER

# Windows starts no program without some of these; the others set the encoding.
_INHERITED = ("LANG", "LC_ALL", "LC_CTYPE", "TZ", "SYSTEMROOT", "WINDIR", "COMSPEC", "PATHEXT", "SYSTEMDRIVE")
# How this computer reaches a package index: the machine installs Jupyter through the same network.
_NETWORK = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
_INDEX_PREFIXES = ("PIP_INDEX", "PIP_EXTRA_INDEX", "PIP_CERT", "PIP_FIND_LINKS", "UV_INDEX", "UV_DEFAULT_INDEX")


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
        inherited = {name: value for name, value in os.environ.items() if _is_inherited(name)}
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
            if _uv() is not None:
                own["UV_CACHE_DIR"] = os.environ.get("UV_CACHE_DIR") or str(_user_cache() / "uv")
        return inherited | accepted | self.extra_environment | own

    def prepare(self) -> None:
        """Creates the home. The system's login files replace PATH: ``.profile`` puts this Python first again."""
        self.home.mkdir(mode=0o700)
        if os.name == "nt":
            (self.home / "AppData" / "Local").mkdir(parents=True)
            (self.home / "AppData" / "Roaming").mkdir()
        else:
            line = f'PATH={shlex.quote(os.path.dirname(sys.executable))}:"$PATH"\nexport PATH\n'
            (self.home / ".profile").write_text(line, encoding="utf-8")
            if uv := _uv():
                programs = self.home / ".local" / "bin"
                programs.mkdir(parents=True)
                (programs / "uv").symlink_to(uv)

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


def _is_inherited(name: str) -> bool:
    return name in _INHERITED or name.upper() in _NETWORK or name.startswith(_INDEX_PREFIXES)


def _uv() -> str | None:
    """The user's uv: with it and its cache, the machine installs Jupyter in seconds. `uvx` names itself in ``UV``."""
    return shutil.which(os.environ.get("UV") or "uv")


def _user_cache() -> Path:
    """uv's rule: https://docs.astral.sh/uv/reference/storage/."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _shell() -> str:
    return "/bin/bash" if os.access("/bin/bash", os.X_OK) else "/bin/sh"
