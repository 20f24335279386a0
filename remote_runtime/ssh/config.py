"""~/.ssh/config: OpenSSH's own reading of it where ``ssh`` exists, else paramiko's."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import which

from ..errors import SshError
from ..model import Instance
from ..settings import SshSettings, SshTarget
from .places import home_of, own_name

_OPENSSH_S = 5.0
# What would change where we connect to or whom we trust, and the values that mean "not used".
_UNSUPPORTED: Mapping[str, tuple[str, ...]] = {
    "bindaddress": (),
    "bindinterface": (),
    "certificatefile": ("none",),
    "knownhostscommand": ("none",),
    "pkcs11provider": ("none",),
    "proxyusefdpass": ("no", "false"),
    "pubkeyauthentication": ("yes", "true", "unbound", "host-bound"),
    "revokedhostkeys": ("none",),
}
_DEFAULT_IDENTITY = re.compile(r"~/\.ssh/id_(rsa|dsa|ecdsa|ecdsa_sk|ed25519|ed25519_sk|xmss|mldsa\w*)")
_HOP = re.compile(r"(?:(?P<user>[^@]+)@)?(?P<host>\[[^\]]+\]|[^:\[\]]+)(?::(?P<port>\d+))?")


def resolve(target: SshTarget, settings: SshSettings, *, environ: Mapping[str, str]) -> tuple[Instance, SshSettings]:
    """Where ``target`` is and how to enter it. What ``target`` and ``settings`` say wins over the file.

    Raises ``SshError`` ``ssh-config-unsupported``, naming the option.
    """
    if not target.host or target.host.startswith("-") or any(c.isspace() or not c.isprintable() for c in target.host):
        raise _unsupported(f"{target.host!r} is not a host name", "")
    options = _ask_openssh(target.host, environ) if which("ssh", path=environ.get("PATH")) else None
    if options is None:
        options = _ask_paramiko(target.host, environ)
    for name, unused in _UNSUPPORTED.items():
        for value in options.get(name, ()):
            if value.lower() not in unused:
                raise _unsupported(f"{name} {value}", target.host)
    address = _last(options, "hostname") or target.host
    port = target.port or settings.port or int(_last(options, "port") or 22)
    alias = _last(options, "hostkeyalias")
    instance = Instance(
        "ssh", target.host, address=address, port=port, host_key_name=alias or known_name(address, port)
    )
    jump = target.jump or _split_jump(_last(options, "proxyjump"))
    command = None if jump else _last(options, "proxycommand")
    identities = options.get("identityfile", ())
    if len(identities) > 2 and all(_DEFAULT_IDENTITY.fullmatch(name) for name in identities):
        identities = ()  # OpenSSH's own list, not the user's
    known_hosts = [*_words(options, "userknownhostsfile"), *_words(options, "globalknownhostsfile")]
    return instance, replace(
        settings,
        user=settings.user or _last(options, "user") or own_name() or None,
        port=port,
        identity_files=tuple(name for name in identities if name != "none"),
        identities_only=settings.identities_only or _last(options, "identitiesonly") in ("yes", "true"),
        identity_agent=_last(options, "identityagent"),
        proxy_jump=jump,
        proxy_command=None if command in (None, "none") else command,
        known_hosts_files=tuple(name for name in known_hosts if name != "none"),
    )


def parse_hop(text: str) -> tuple[str | None, str, int | None]:
    """(user, host, port) of one ProxyJump entry. Raises ``SshError`` ``ssh-config-unsupported``."""
    match = _HOP.fullmatch(text.removeprefix("ssh://").strip().rstrip("/"))
    if match is None:
        raise _unsupported(f"ProxyJump {text}", "")
    return match["user"], match["host"].strip("[]"), int(match["port"]) if match["port"] else None


def known_name(host: str, port: int) -> str:
    """As known_hosts writes it: ``host``, or ``[host]:port`` where the port is not 22."""
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


def _ask_openssh(host: str, environ: Mapping[str, str]) -> dict[str, tuple[str, ...]] | None:
    """``ssh -G`` resolves Include, Match and all defaults. It looks up the home directory itself, so a HOME that
    differs is told to it. None if it cannot be run; raises ``SshError`` when it complains."""
    arguments = ["ssh", "-G"]
    home, name = home_of(environ), own_name()
    if not name:
        return None  # ssh refuses to run for a uid without a name
    passwd_home = Path(os.path.expanduser(f"~{name}"))
    if home != passwd_home:
        file = home / ".ssh" / "config"
        arguments += ["-F", str(file) if file.is_file() else "none"]
    try:
        done = subprocess.run(
            [*arguments, "--", host],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_OPENSSH_S,
        )
    except OSError:
        return None
    except subprocess.TimeoutExpired as error:
        raise _unsupported(f"`ssh -G {host}` took more than {_OPENSSH_S:.0f} s", host) from error
    if done.returncode != 0:
        raise _unsupported("; ".join(done.stderr.strip().splitlines()[:3]) or "`ssh -G` failed", host)
    output = done.stdout
    if home != passwd_home:
        output = output.replace(f" {passwd_home}/.ssh/", " ~/.ssh/")
    return _collect(line.partition(" ")[::2] for line in output.splitlines())


def _ask_paramiko(host: str, environ: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    import paramiko

    file = home_of(environ) / ".ssh" / "config"
    if not file.is_file():
        return {}
    if not own_name():  # paramiko fills it in
        raise _unsupported("this computer has no name for you; LOGNAME can tell one", host)
    text = file.read_text(encoding="utf-8", errors="replace")
    for line in text.splitlines():
        words = line.replace("=", " ").split()
        if words and words[0].lower() == "include":
            raise _unsupported("Include without OpenSSH's client", host)
        if words and words[0].lower() == "match" and "exec" in words:
            raise _unsupported("Match exec without OpenSSH's client", host)
    try:
        found = paramiko.SSHConfig.from_text(text).lookup(host)
    except (paramiko.SSHException, ValueError, KeyError, ImportError) as error:
        raise _unsupported(str(error), host) from error
    return _collect(
        (key, value) for key, values in found.items() for value in (values if isinstance(values, list) else [values])
    )


def _collect(pairs: Iterable[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    options: dict[str, tuple[str, ...]] = {}
    for key, value in pairs:
        options[key.lower()] = (*options.get(key.lower(), ()), value)
    return options


def _last(options: Mapping[str, Sequence[str]], name: str) -> str | None:
    values = options.get(name)
    return values[-1] if values else None


def _words(options: Mapping[str, Sequence[str]], name: str) -> list[str]:
    return [word for value in options.get(name, ()) for word in shlex.split(value, posix=os.name == "posix")]


def _split_jump(value: str | None) -> tuple[str, ...]:
    return () if value in (None, "", "none") else tuple(str(value).split(","))


def _unsupported(why: str, host: str) -> SshError:
    what = f"~/.ssh/config asks for something that is not supported for {host}" if host else "The host cannot be used"
    return SshError("ssh-config-unsupported", what, why)
