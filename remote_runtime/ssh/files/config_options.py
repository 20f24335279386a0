"""The options of ssh_config(5): which are honoured, refused or not used; the tokens and variables in their values."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from ...core.errors import SshError
from ...core.fast_dataclass import fast_dataclass
from .paths import local_username

HONOURED: Mapping[str, str] = {
    "Host Match Include Tag IgnoreUnknown CanonicalDomains CanonicalizeFallbackLocal CanonicalizeHostname"
    " CanonicalizeMaxDots CanonicalizePermittedCNAMEs": "as `ssh -G` resolves them",
    "HostName Port User": "unless the profile says otherwise",
    "AddressFamily": "",
    "CertificateFile IdentitiesOnly IdentityAgent IdentityFile": "with tokens and variables",
    "GlobalKnownHostsFile UserKnownHostsFile HostKeyAlias": "`@cert-authority` and `@revoked` too",
    "ProxyCommand ProxyJump": "`target.jump` goes first",
    "CASignatureAlgorithms Ciphers HostKeyAlgorithms KexAlgorithms MACs PubkeyAcceptedAlgorithms": "they narrow"
    " what is used",
    "RequiredRSASize": "for host keys and for yours",
}
NOT_USED: Mapping[str, str] = {
    "ConnectTimeout ConnectionAttempts": "`timeouts.ssh` is the limit",
    "ServerAliveCountMax ServerAliveInterval TCPKeepAlive": "`ssh.keepalive` in the profile",
    "CheckHostIP NoHostAuthenticationForLocalhost StrictHostKeyChecking VerifyHostKeyDNS": "host keys are always"
    " verified by known_hosts; `ssh.host_key: accept-new` in the profile accepts new ones",
    "FingerprintHash HashKnownHosts UpdateHostKeys VisualHostKey": "your known_hosts is never written",
    "BatchMode ChallengeResponseAuthentication EnableSSHKeysign GSSAPIAuthentication GSSAPIClientIdentity"
    " GSSAPIDelegateCredentials GSSAPIKexAlgorithms GSSAPIKeyExchange GSSAPIRenewalForcesRekey GSSAPIServerIdentity"
    " GSSAPITrustDns HostbasedAcceptedAlgorithms HostbasedAuthentication KbdInteractiveAuthentication"
    " KbdInteractiveDevices NumberOfPasswordPrompts PasswordAuthentication PreferredAuthentications": "logins are by"
    " key, with a 2FA code where the server asks for one",
    "AddKeysToAgent SecurityKeyProvider UseKeychain": "FIDO keys are used through an agent: `ssh-add FILE`",
    "ClearAllForwardings DynamicForward ExitOnForwardFailure GatewayPorts LocalForward PermitRemoteOpen RemoteForward"
    " StreamLocalBindMask StreamLocalBindUnlink Tunnel TunnelDevice": "`forward.extra` in the profile",
    "SendEnv SetEnv": "`jupyter.env` in the profile",
    "ForwardAgent ForwardX11 ForwardX11Timeout ForwardX11Trusted XAuthLocation": "no agent and no display is forwarded",
    "ChannelTimeout Compression ControlMaster ControlPath ControlPersist EnableEscapeCommandline EscapeChar"
    " ForkAfterAuthentication IPQoS LocalCommand LogLevel LogVerbose ObscureKeystrokeTiming PermitLocalCommand"
    " RekeyLimit RemoteCommand RequestTTY SessionType StdinNull SyslogFacility VersionAddendum WarnWeakCrypto": "no use"
    " for a connection of this program",
}


@fast_dataclass(frozen=True)
class RefusedOption:
    """``harmless_values``: are not refused. ``fix``: ``HOST`` is replaced by the name in the profile."""

    why: str
    fix: str
    harmless_values: tuple[str, ...] = ("none",)


# They would change the connection's destination, or which host keys are trusted.
REFUSED: Mapping[str, RefusedOption] = {
    "BindAddress": RefusedOption("it is not supported", "Replace it by `ProxyCommand nc -s ADDRESS %h %p`", ()),
    "BindInterface": RefusedOption("it is not supported", "Replace it by a ProxyCommand that uses the interface", ()),
    "KnownHostsCommand": RefusedOption(
        "no command is run for host keys",
        "Put the host's key in known_hosts, and `KnownHostsCommand none` under `Host HOST` at the top of ~/.ssh/config",
    ),
    "PKCS11Provider": RefusedOption(
        "tokens are used through an agent",
        "`ssh-add -s PROVIDER`, and `PKCS11Provider none` under `Host HOST` at the top of ~/.ssh/config",
    ),
    "ProxyUseFdpass": RefusedOption(
        "the ProxyCommand has to carry the bytes",
        "`ProxyUseFdpass no` under `Host HOST` at the top of ~/.ssh/config, and a ProxyCommand such as `nc %h %p`",
        ("no", "false"),
    ),
    "PubkeyAuthentication": RefusedOption(
        "logins are by key",
        "`PubkeyAuthentication yes` under `Host HOST` at the top of ~/.ssh/config",
        ("yes", "true", "unbound", "host-bound"),
    ),
    "RefuseConnection": RefusedOption("it forbids the connection", "Remove it for this host", ()),
    "RevokedHostKeys": RefusedOption(
        "such files are not read",
        "Put its keys in ~/.ssh/known_hosts as `@revoked * TYPE KEY`, and `RevokedHostKeys none` under `Host HOST` at"
        " the top of ~/.ssh/config",
    ),
}


def option_names(groups: Mapping[str, str]) -> set[str]:
    """All of their options, in lower case, as ``ssh -G`` prints them."""
    return {name.lower() for group in groups for name in group.split()}


@functools.lru_cache
def known_options() -> frozenset[str]:
    return frozenset(option_names(HONOURED) | option_names(NOT_USED)) | {name.lower() for name in REFUSED}


def options_table() -> str:
    """A Markdown table for the reference."""
    rows = [(group, "honoured", why) for group, why in HONOURED.items()]
    rows += [(name, "refused", f"{each.why}. {each.fix}") for name, each in REFUSED.items()]
    rows += [(group, "of no use here", why) for group, why in NOT_USED.items()]
    lines = ["| Options | Decision | |", "| --- | --- | --- |"]
    for group, verdict, why in rows:
        lines.append(f"| {', '.join(f'`{name}`' for name in group.split())} | {verdict} | {why} |")
    return "".join(f"{line}\n" for line in lines)


_TOKEN = re.compile(r"%(?P<sign>.?)|\$\{(?P<variable>[^}]*)\}?", re.DOTALL)
_HOST_NAME_TOKENS = "h"
_COMMAND_TOKENS = "hnpr"  # ProxyCommand and ProxyJump; a shell takes care of the variables


@fast_dataclass(frozen=True)
class ConfigTokens:
    """``name``: as it was typed; ``host``: its HostName; ``alias``: its HostKeyAlias, if any; ``jump``: the last host
    of its ProxyJump, if any."""

    name: str
    host: str
    port: int
    user: str
    alias: str
    jump: str
    home: Path
    environ: Mapping[str, str]

    def expand_path(self, option: str, text: str) -> str:
        """The value ``text`` of an option that takes all tokens, and variables. Raises ``SshError``
        ``ssh-config-unsupported`` for one without a value, as ``ssh`` does."""
        return self._expand(option, text, "CdhijkLlnpru", variables=True)

    def expand_jump(self, text: str) -> str:
        """Raises as ``expand_path`` does."""
        return self._expand("ProxyJump", text, _COMMAND_TOKENS, variables=False)

    def _expand(self, option: str, text: str, known: str, *, variables: bool) -> str:
        def value(found: re.Match[str]) -> str:
            if found["variable"] is not None:
                if not variables:
                    return found[0]
                if not found[0].endswith("}") or found["variable"] not in self.environ:
                    raise _no_value_error(option, text, found[0], "no environment variable of this name is set")
                return self.environ[found["variable"]]
            if found["sign"] == "%":
                return "%"
            if not found["sign"] or found["sign"] not in known:
                raise _no_value_error(option, text, found[0], "it is no token that this option takes")
            return self._value(found["sign"], option, text)

        return _TOKEN.sub(value, text)  # the values themselves are not expanded

    def _value(self, letter: str, option: str, text: str) -> str:
        here = socket.gethostname()
        values = {
            "d": str(self.home),
            "h": self.host,
            "i": str(os.getuid()) if hasattr(os, "getuid") else "",
            "j": self.jump,
            "k": self.alias or self.name,
            "L": here.split(".")[0],
            "l": here,
            "n": self.name,
            "p": str(self.port),
            "r": self.user,
            "u": local_username(),
        }
        if letter == "C":
            return hashlib.sha1("".join(values[each] for each in "lhprj").encode()).hexdigest()  # noqa: S324  # OpenSSH's
        if not values[letter] and letter != "j":
            raise _no_value_error(option, text, f"%{letter}", "this computer has no name for you")
        return values[letter]


def expand_host_name(text: str, name: str) -> str:
    """The value ``text`` of HostName, where ``%h`` is the name as it was typed. Raises as ``expand_path`` does."""
    tokens = ConfigTokens(name, name, 0, "", "", "", Path(), {})
    return tokens._expand("HostName", text, _HOST_NAME_TOKENS, variables=False)


def _no_value_error(option: str, text: str, part: str, why: str) -> SshError:
    what = f"{part} in {option} {text} of ~/.ssh/config has no value"
    return SshError("ssh-config-unsupported", what, why, f"Remove {part} from {option} there")
