"""The offered algorithms, best first, and the error for a server that has none of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import paramiko

from ...core.errors import SshError
from ...core.profile import Algorithms
from ...core.sanitize import clean_line

CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
AEAD_CIPHERS = CIPHERS[:2]
DIGESTS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")
_WEAK = ("-sha1", "group1-")
# Two names of one method (RFC 8731); a server that is configured with few may know only one.
_CURVE, _CURVE_OF_LIBSSH = "curve25519-sha256", "curve25519-sha256@libssh.org"
_TRANSPORT: Any = paramiko.Transport
KEX_INFO: Mapping[str, Any] = {
    **_TRANSPORT._kex_info,
    **({_CURVE: _TRANSPORT._kex_info[_CURVE_OF_LIBSSH]} if _CURVE_OF_LIBSSH in _TRANSPORT._kex_info else {}),
}
# A word for each list of SSH_MSG_KEXINIT, paramiko's name for it, and sshd_config's.
_LISTS = (
    ("key exchange", "kex_algo_list", "KexAlgorithms"),
    ("host key", "server_key_algo_list", "HostKeyAlgorithms"),
    ("cipher", "client_encrypt_algo_list", "Ciphers"),
    ("cipher", "server_encrypt_algo_list", "Ciphers"),
    ("MAC", "client_mac_algo_list", "MACs"),
    ("MAC", "server_mac_algo_list", "MACs"),
)
_MAX_NAMES_SHOWN = 12
_OTHER_SERVER_HINT = (
    "Let its SSH server offer such a {}, or run OpenSSH's server there: `sudo apt-get install openssh-server`"
)


def restrict_algorithms(transport: Any, only: Algorithms) -> None:
    """Limits paramiko's ``transport`` to these algorithms and ~/.ssh/config allows. Raises as ``filter_allowed``."""
    options = transport.get_security_options()
    options.kex = filter_allowed("KexAlgorithms", key_exchanges(options.kex), only.kex)
    options.ciphers = filter_allowed("Ciphers", (name for name in CIPHERS if name in options.ciphers), only.ciphers)
    options.digests = filter_allowed("MACs", (name for name in DIGESTS if name in options.digests), only.macs)
    options.compression = ["none"]
    signing = transport._preferred_pubkeys
    transport._preferred_pubkeys = tuple(name for name in signing if not only.public_keys or name in only.public_keys)


def filter_allowed(option: str, names: Iterable[str], allowed: Collection[str]) -> list[str]:
    """Those of ``names`` that ``option`` of ~/.ssh/config allows, in their order; all if it is not set.

    Raises ``SshError`` ``ssh-config-unsupported`` where none is left.
    """
    known = list(names)
    kept = [name for name in known if not allowed or name in allowed]
    if not kept:
        what = f"{option} of ~/.ssh/config allows no algorithm that is supported"
        why = f"it allows {_format_names(tuple(allowed))}; supported here: {_format_names(known)}"
        raise SshError("ssh-config-unsupported", what, why, f"Add {known[0]} to {option} there")
    return kept


def key_exchanges(known: Sequence[str]) -> list[str]:
    """Those of paramiko's with SHA-2 or better. Older versions of it offer SHA-1, too."""
    names = [name for name in known if not any(weak in name for weak in _WEAK)]
    if _CURVE in KEX_INFO and _CURVE not in names:
        names.insert(names.index(_CURVE_OF_LIBSSH) if _CURVE_OF_LIBSSH in names else 0, _CURVE)
    return names


def ignore_macs_of_aead(offered: dict[str, Any]) -> dict[str, Any]:
    """Adds MACs to the server's lists ``offered`` where the cipher is an AEAD, which uses no MAC (RFC 5647 5.1):
    paramiko would fail where none is in common."""
    for direction in ("client", "server"):
        ours = [name for name in CIPHERS if name in offered[f"{direction}_encrypt_algo_list"]]
        if ours and ours[0] in AEAD_CIPHERS:
            offered[f"{direction}_mac_algo_list"] = [*offered[f"{direction}_mac_algo_list"], *DIGESTS]
    return offered


def find_mismatch(offered: Mapping[str, Any], options: paramiko.SecurityOptions, version: str) -> tuple[str, str]:
    """Why the key exchange fails, and a hint; both empty if all lists have an algorithm in common. ``version``: the
    server's, which need not be OpenSSH's."""
    ours = {
        "KexAlgorithms": options.kex,
        "HostKeyAlgorithms": options.key_types,
        "Ciphers": options.ciphers,
        "MACs": options.digests,
    }
    for word, name, keyword in _LISTS:
        theirs, known = offered.get(name, ()), ours[keyword]
        if not set(theirs) & set(known):
            why = f"no {word} in common: it offers {_format_names(theirs)}; supported here: {_format_names(known)}"
            hint = _hint(keyword, known, theirs) if "OpenSSH" in version else _OTHER_SERVER_HINT.format(word)
            return why, hint
    return "", ""


def _hint(keyword: str, known: Sequence[str], theirs: Sequence[str]) -> str:
    wanted = [name for name in known if name in (*AEAD_CIPHERS, _CURVE, DIGESTS[0])][:2] or list(known[:1])
    if keyword == "HostKeyAlgorithms":
        if "ssh-rsa" not in theirs:  # its signatures are by SHA-1; the same key makes others
            return "Run `sudo ssh-keygen -A` on the machine, then restart its SSH server"
        wanted = ["rsa-sha2-512"]
    return f"Add this to its sshd_config and restart it: `{keyword} +{','.join(wanted)}`"


def _format_names(names: Sequence[str]) -> str:
    plain = [clean_line(name, 60) for name in names if not name.startswith(("kex-strict-", "ext-info-"))]
    more = [f"{len(plain) - _MAX_NAMES_SHOWN} more"] if len(plain) > _MAX_NAMES_SHOWN else []
    return ", ".join([*plain[:_MAX_NAMES_SHOWN], *more]) or "none"
