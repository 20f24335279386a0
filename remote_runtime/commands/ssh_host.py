"""An entry of ssh_config(5) for a profile, quoted for OpenSSH of any version and for the shell of its ProxyCommand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from ..core.errors import LocalError
from ..core.fast_dataclass import fast_dataclass

# OpenSSH reads backslashes and quotes differently from version to version, and replaces ${NAME} and ~.
_UNSAFE_PATH = re.compile(r'["\\\x00-\x1f\x7f\u0080-\u009f\u2028\u2029]|\$\{')
_USER = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._@+-]*(?:\\[A-Za-z0-9._][A-Za-z0-9._@+-]*)?\$?")
# fish reads a backslash in single quotes, and csh an exclamation mark and the end of a line.
_UNSAFE_WORD = re.compile(r"[\\!\x00-\x1f\x7f]")
_UNSAFE_WINDOWS_WORD = re.compile(r'["\x00-\x1f\x7f]')


@fast_dataclass(frozen=True)
class SshHost:
    """``alias``: its ``Host``. ``command``: the words of the ProxyCommand, after ``variables`` of its environment.
    ``known_hosts``: the file of the host keys of ``alias``. ``identities_only``: whether an agent's other keys are left
    out. ``agent``: the socket of the agent, empty for the one of the environment."""

    alias: str
    user: str
    command: Sequence[str]
    known_hosts: str
    keepalive_s: float
    variables: tuple[tuple[str, str], ...] = ()
    identity_files: tuple[str, ...] = ()
    certificate_files: tuple[str, ...] = ()
    identities_only: bool = False
    agent: str = ""

    def options(self, *, windows: bool) -> list[tuple[str, str]]:
        """Keyword and value, as they are written. Raises ``LocalError`` ``ssh-config-unsafe`` for a value that some
        OpenSSH would read as another one."""
        agent = self.agent if self.agent in ("", "none", "SSH_AUTH_SOCK") else _path("IdentityAgent", self.agent)
        return [
            ("HostKeyAlias", self.alias),
            ("User", _user(self.user)),
            *(("IdentityFile", _path("IdentityFile", file, windows=windows)) for file in self.identity_files),
            *(("CertificateFile", _path("CertificateFile", file, windows=windows)) for file in self.certificate_files),
            *([("IdentitiesOnly", "yes")] if self.identities_only else []),
            *([("IdentityAgent", agent)] if agent else []),
            ("ProxyCommand", _proxy_command(self.command, self.variables, windows=windows)),
            ("UserKnownHostsFile", _path("UserKnownHostsFile", self.known_hosts, windows=windows)),
            ("GlobalKnownHostsFile", "/dev/null"),
            ("StrictHostKeyChecking", "yes"),
            ("UpdateHostKeys", "no"),
            ("ServerAliveInterval", str(max(1, round(self.keepalive_s)))),
        ]

    def text(self, *, windows: bool) -> str:
        """The entry. Raises as ``options``."""
        lines = [f"  {keyword} {value}\n" for keyword, value in self.options(windows=windows)]
        # Some programs write host names in lower case.
        names = dict.fromkeys([self.alias, self.alias.lower()])
        return f"Host {' '.join(names)}\n{''.join(lines)}"


def _user(user: str) -> str:
    if not _USER.fullmatch(user):
        raise _unsafe_error("User", user, "Set `ssh.user` to a name of letters, digits and `.`, `_`, `-`, `@`")
    return user


def _path(keyword: str, path: str, *, windows: bool = False) -> str:
    """Absolute, quoted, and with ``%%``, as these options replace %h and others."""
    text = path.replace("\\", "/") if windows else path
    is_absolute = text.startswith("/") or (windows and text[1:3] == ":/")
    if not is_absolute or _UNSAFE_PATH.search(text):
        raise _unsafe_error(keyword, path, "Move it to a folder without quotes, backslashes and control characters")
    text = text.replace("%", "%%")
    return text if re.fullmatch(r"[A-Za-z0-9/._@:%+-]+", text) else f'"{text}"'


def _proxy_command(command: Sequence[str], variables: Sequence[tuple[str, str]], *, windows: bool) -> str:
    """OpenSSH replaces %h and others, then runs the line with the user's shell."""
    unsafe = _UNSAFE_WINDOWS_WORD if windows else _UNSAFE_WORD
    for word in (*command, *(value for _, value in variables)):
        if unsafe.search(word):
            raise _unsafe_error("ProxyCommand", word, "Move it to a folder without quotes and control characters")
    if windows:
        words = [_quoted_for_windows(word) for word in command]
    else:
        words = [shlex.quote(word) for word in command]
        if variables:
            words = ["env", *(f"{name}={shlex.quote(value)}" for name, value in variables), *words]
    return " ".join(words).replace("%", "%%")


def _quoted_for_windows(word: str) -> str:
    """In double quotes for cmd.exe, with the slashes that also the shell of Git for Windows leaves alone."""
    word = word.replace("\\", "/")
    return word if re.fullmatch(r"[A-Za-z0-9/._:+-]+", word) else f'"{word}"'


def _unsafe_error(keyword: str, value: str, hint: str) -> LocalError:
    what = f"Can't write {keyword} to an SSH configuration"
    return LocalError("ssh-config-unsafe", what, f"OpenSSH would not read {value!r} as it is", hint)
