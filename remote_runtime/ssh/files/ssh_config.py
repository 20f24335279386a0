"""~/.ssh/config, read by OpenSSH's client, or, where that is missing, by ``config_file``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from shutil import which
from typing import Literal
from urllib.parse import unquote

from ...core.deadline import Deadline
from ...core.errors import SshError
from ...core.model import Instance
from ...core.profile import Algorithms, SshSettings, SshTarget
from . import config_file, openssh_config
from .config_options import REFUSED, ConfigTokens
from .known_hosts import known_hosts_name
from .paths import home_dir, local_username

_DEFAULT_IDENTITY = re.compile(r"~/\.ssh/id_(rsa|dsa|ecdsa|ecdsa_sk|ed25519|ed25519_sk|xmss|mldsa\w*)")
_MATCH_EXEC_TIMEOUT_S = 60.0
_JUMP_HOST = re.compile(r"(?:(?P<user>.+)@)?(?P<host>\[[^\]]+\]|[^:\[\]@]+)(?::(?P<port>\d+))?")
_FAMILIES: Mapping[str, Literal["any", "inet", "inet6"]] = {"inet": "inet", "inet6": "inet6"}


def resolve(
    target: SshTarget, settings: SshSettings, *, environ: Mapping[str, str], deadline: Deadline | None = None
) -> tuple[Instance, SshSettings]:
    """The address of ``target``, and ``settings`` completed by the file; ``target`` and ``settings`` win over the file.
    ``deadline``: for programs that the file runs, a minute by default.

    Raises ``SshError`` ``ssh-config-unsupported``, naming the option; ``Interrupted``.
    """
    if not target.host or target.host.startswith("-") or any(c.isspace() or not c.isprintable() for c in target.host):
        raise _unusable_host(f"{target.host!r} is not a host name")
    has_openssh = which("ssh", path=environ.get("PATH")) is not None
    port = target.port or settings.port
    options = (
        openssh_config.query(target.host, settings.user, port, environ, deadline or Deadline(_MATCH_EXEC_TIMEOUT_S))
        if has_openssh
        else None
    )
    expanded = options is not None
    if options is None:
        options = config_file.load(target.host, settings.user, environ)
    _refuse_unsupported(options, target.host)
    address = _last(options, "hostname") or target.host.lower()
    port = port or int(_last(options, "port") or 22)
    alias = (_last(options, "hostkeyalias") or "").lower()
    user = settings.user or _last(options, "user") or local_username()
    instance = Instance(
        "ssh", target.host, address=address, port=port, host_key_name=alias or known_hosts_name(address, port)
    )
    jump = target.jump or _split_jump(_last(options, "proxyjump"))
    command = None if jump else _last(options, "proxycommand")
    tokens = ConfigTokens(target.host, address, port, user, alias, "", home_dir(environ), environ)
    jump = jump if target.jump else tuple(tokens.expand_jump(_without_uri(host)) for host in jump)
    tokens = replace(tokens, jump=parse_jump_host(jump[-1])[1] if jump else "")
    identities = options.get("identityfile", ())
    if len(identities) > 2 and all(_DEFAULT_IDENTITY.fullmatch(name) for name in identities):
        identities = ()  # OpenSSH's own list, not the user's
    known_hosts = [
        path
        for kind in ("user", "global")
        for path in _known_hosts_paths(options.get(f"{kind}knownhostsfile", ()), tokens, expanded=expanded)
    ]
    agent = _last(options, "identityagent")
    return instance, replace(
        settings,
        user=user or None,
        port=port,
        identity_files=_expand_paths(identities, "IdentityFile", tokens),
        certificate_files=_expand_paths(options.get("certificatefile", ()), "CertificateFile", tokens),
        identities_only=settings.identities_only or _last(options, "identitiesonly") in ("yes", "true"),
        identity_agent=agent and (tokens.expand_path("IdentityAgent", agent) if not expanded else agent),
        proxy_jump=jump,
        proxy_command=None if command in (None, "none") else command,
        known_hosts_files=tuple(name for name in known_hosts if name != "none"),
        updates_known_hosts=_notes_host_keys(options, known_hosts, address),
        address_family=_FAMILIES.get((_last(options, "addressfamily") or "").lower(), "any"),
        allowed_algorithms=_allowed_algorithms(options),
    )


def parse_jump_host(text: str) -> tuple[str | None, str, int | None]:
    """(user, host, port) of one ProxyJump entry; the user may have an @ in it. Raises ``SshError``
    ``ssh-config-unsupported``."""
    is_uri = text.startswith("ssh://")
    match = _JUMP_HOST.fullmatch(text.removeprefix("ssh://").strip().rstrip("/"))
    if match is None or not 0 < int(match["port"] or 22) < 65536:
        raise _unusable_host(f"ProxyJump {text}")
    user = unquote(match["user"]) if is_uri and match["user"] else match["user"]
    return user, match["host"].strip("[]"), int(match["port"]) if match["port"] else None


def _without_uri(text: str) -> str:
    """A jump host in the form USER@HOST:PORT: the %40 of a URI is no token."""
    if not text.startswith("ssh://"):
        return text
    user, host, port = parse_jump_host(text)
    host = f"[{host}]" if ":" in host else host
    return (f"{user}@" if user else "") + host + (f":{port}" if port else "")


def _refuse_unsupported(options: Mapping[str, Sequence[str]], host: str) -> None:
    for name, refused in REFUSED.items():
        for value in options.get(name.lower(), ()):
            if value.lower() not in refused.harmless_values:
                what = f"The SSH configuration for {host} has an option that is not supported"
                hint = refused.fix.replace("HOST", host)
                raise SshError("ssh-config-unsupported", what, f"{name} {value}: {refused.why}", hint)


def _expand_paths(values: Sequence[str], option: str, tokens: ConfigTokens) -> tuple[str, ...]:
    return tuple(tokens.expand_path(option, value) for value in values if value != "none")


def _known_hosts_paths(values: Sequence[str], tokens: ConfigTokens, *, expanded: bool) -> list[str]:
    """``ssh -G`` prints one value, with all paths expanded; the file has one value a path."""
    if expanded:
        return [path for value in values for path in openssh_config.split_paths(value, tokens.home)]
    return [tokens.expand_path("UserKnownHostsFile", value) for value in values]


def _notes_host_keys(options: Mapping[str, Sequence[str]], known_hosts: Sequence[str], address: str) -> bool:
    def is_on(name: str) -> bool:
        return (_last(options, name) or "").lower() in ("yes", "true")

    if is_on("stricthostkeychecking") or is_on("verifyhostkeydns") or known_hosts[:1] in (["none"], ["/dev/null"]):
        return False
    return not (is_on("nohostauthenticationforlocalhost") and _is_loopback(address))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"


def _allowed_algorithms(options: Mapping[str, Sequence[str]]) -> Algorithms:
    def allowed(name: str) -> tuple[str, ...]:
        return tuple((_last(options, name) or "").split(",")) if _last(options, name) else ()

    return Algorithms(
        host_keys=allowed("hostkeyalgorithms"),
        public_keys=allowed("pubkeyacceptedalgorithms"),
        kex=allowed("kexalgorithms"),
        ciphers=allowed("ciphers"),
        macs=allowed("macs"),
        ca_signatures=allowed("casignaturealgorithms"),
        rsa_bits=int(_last(options, "requiredrsasize") or 0),
    )


def _last(options: Mapping[str, Sequence[str]], name: str) -> str | None:
    values = options.get(name)
    return values[-1] if values else None


def _split_jump(value: str | None) -> tuple[str, ...]:
    return () if (value or "none").lower() == "none" else tuple(str(value).split(","))


def _unusable_host(why: str) -> SshError:
    return SshError("ssh-config-unsupported", "Invalid host name", why)
