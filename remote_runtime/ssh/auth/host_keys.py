"""Verifies host keys against the pinned ones, guest attributes, gcloud's known_hosts and the user's."""

from __future__ import annotations

import base64
import time
from pathlib import Path

from ...core.callbacks import Progress
from ...core.errors import SshError
from ...core.model import Instance
from ...core.profile import SshSettings
from ...core.shell_command import shell_command
from ..files.known_hosts import (
    GCLOUD_KNOWN_HOSTS,
    HostKey,
    KnownKeys,
    find_keys,
    known_hosts_name,
    load,
    load_pins,
    parse_keys,
    pin,
)
from ..files.paths import expand_home
from ..transport.algorithms import filter_allowed
from .certificates import Certificate
from .key_files import rsa_bits

VERIFIED = "verified"
USER_FILES = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
_OPENSSH_ORDER = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


class HostKeyPolicy:
    """The host keys of one machine that are known before the connection.

    Raises ``LocalError`` ``state-dir-unusable`` for pinned host keys that cannot be read.
    """

    def __init__(self, instance: Instance, settings: SshSettings, *, pins: Path, home: Path) -> None:
        self._instance = instance
        self._settings = settings
        self._pins = pins
        name = instance.host_key_name
        ours, gclouds = load_pins(pins), load(home / GCLOUD_KNOWN_HOSTS, "gcloud's known hosts")
        users = [load(expand_home(file, home), file) for file in settings.known_hosts_files or USER_FILES]
        self._user_files = users if instance.kind == "ssh" else []
        self._pinned = find_keys([ours], name)
        self._from_cloud = KnownKeys("the cloud's guest attributes", tuple(parse_keys(instance.host_keys)))
        self._sources = [self._pinned, self._from_cloud]
        if instance.kind == "gce":
            self._sources.append(find_keys([gclouds], name))
        self._sources.append(find_keys(self._user_files, name))
        # For another port than 22 OpenSSH also looks for the name alone, which can only confirm a key.
        has_port = instance.port != 22 and name == known_hosts_name(instance.address, instance.port)
        self._without_port = find_keys(self._user_files, instance.address.lower()) if has_port else KnownKeys("")
        names = dict.fromkeys([name, instance.address.lower(), known_hosts_name(instance.address, instance.port)])
        revoking = [file.with_marker("@revoked") for file in (ours, gclouds, *users)]
        self._revoked = [find_keys([file], each) for file in revoking for each in names]
        self._authorities = {*self._sources[-1].authorities, *self._without_port.authorities}

    def algorithms(self) -> list[str]:
        """Host key algorithms for the key exchange, best first: certificates where an authority is trusted, then those
        of the known keys, so that the machine presents one of these. ``HostKeyAlgorithms`` may allow fewer.

        Raises ``SshError`` ``ssh-config-unsupported`` where none is left.
        """
        known = [key.kind for source in (*self._sources, self._without_port) for key in source.keys]
        kinds = [*(kind for kind in _OPENSSH_ORDER if kind in known), *_OPENSSH_ORDER]
        names = [name for kind in dict.fromkeys(kinds) for name in _ALGORITHMS.get(kind, (kind,))]
        if self._authorities:
            names = [*(f"{name}-cert-v01@openssh.com" for name in names), *names]
        return filter_allowed("HostKeyAlgorithms", names, self._settings.allowed_algorithms.host_keys)

    def check(self, host_key: HostKey, progress: Progress, certificate: bytes = b"") -> str:
        """How ``host_key`` is known as the machine's, by itself or by the ``certificate`` that it was presented in:
        ``verified``, or ``accepted as new``, which the profile has to allow. It is pinned then, and where guest
        attributes name it. Raises ``SshError`` ``host-key-changed``
        or ``host-key-unknown``."""
        if 0 < (bits := rsa_bits(base64.b64decode(host_key.data))) < self._settings.allowed_algorithms.rsa_bits:
            min_bits = self._settings.allowed_algorithms.rsa_bits
            why = f"it has {bits} bits, and RequiredRSASize of ~/.ssh/config asks for {min_bits}"
            raise self._unverified("is too short", why)
        signed = Certificate(certificate) if certificate and self._authorities else None
        for source in self._revoked:
            if host_key in source.revoked or (signed and signed.authority in source.revoked):
                raise self._unverified("is revoked", f"{source.where} marks {_describe(host_key)} as revoked")
        if signed and signed.authority in self._authorities:
            name = self._instance.host_key_name
            fault = signed.host_fault(
                self._instance.address if self._is_by_address() else name,
                time.time(),
                self._settings.allowed_algorithms.ca_signatures,
            )
            if fault:
                raise self._unverified("is not certified", f"its certificate by {_describe(signed.authority)} {fault}")
            return VERIFIED
        for source in self._sources:
            if source.keys and host_key not in source.keys:
                raise self._changed(host_key, source)
            if source.keys:
                if source is self._from_cloud:
                    pin(self._pins, self._instance.host_key_name, host_key)
                return VERIFIED
        if host_key in self._without_port.keys:
            return VERIFIED
        if self._settings.host_key != "accept-new":
            raise self._unknown(host_key)
        pin(self._pins, self._instance.host_key_name, host_key)
        progress(f"New host key of {self._instance.name} accepted and pinned: {_describe(host_key)}")
        return "accepted as new"

    def trusted_keys(self) -> list[HostKey]:
        """Those that ``check`` accepts without a certificate."""
        source = next((source for source in self._sources if source.keys), self._without_port)
        revoked = {key for each in self._revoked for key in each.revoked}
        min_bits = self._settings.allowed_algorithms.rsa_bits
        bits = {key: rsa_bits(base64.b64decode(key.data)) for key in source.keys}
        return [key for key in source.keys if key not in revoked and not 0 < bits[key] < min_bits]

    def _is_by_address(self) -> bool:
        """Whether there is no HostKeyAlias. A certificate names hosts without their ports."""
        return self._instance.host_key_name == known_hosts_name(self._instance.address, self._instance.port)

    def _changed(self, host_key: HostKey, source: KnownKeys) -> SshError:
        known = next((key for key in source.keys if key.kind == host_key.kind), source.keys[0])
        why = (
            f"expected {_describe(known)} ({source.where}), got {_describe(host_key)}; "
            "the machine was recreated, or the connection is being intercepted"
        )
        if source is not self._from_cloud and host_key in self._from_cloud.keys:
            why += "; the VM's guest attributes have the new key, so it was probably recreated"
        hint = ""
        if source is self._pinned:
            hint = "If you know that it was recreated, run `remote-runtime host-key forget PROFILE`"
        elif source is not self._from_cloud:
            file = (
                f"~/{GCLOUD_KNOWN_HOSTS}" if source.where == "gcloud's known hosts" else source.where.split(" and ")[0]
            )
            words = ["ssh-keygen", "-R", self._instance.host_key_name]
            words += ["-f", file] if file != USER_FILES[0] else []
            hint = f"If you know that it was recreated, run {shell_command(*words)}"
        return SshError("host-key-changed", f"The host key of {self._instance.name} has changed", why, hint)

    def _unknown(self, host_key: HostKey) -> SshError:
        name = self._instance.name
        why = f"it shows {_describe(host_key)}, which no trusted source lists"
        if self._authorities:
            why += "; known_hosts trusts a certificate authority for it, but the key has no certificate by it"
        unread = [file for file in self._user_files if file.trouble]
        why += "".join(f"; {file.where} can't be read ({file.trouble})" for file in unread)
        if self._instance.kind == "ssh":
            hint = "Compare the fingerprint on the machine, then set `ssh.host_key: accept-new`"
            if self._settings.updates_known_hosts and not unread:
                hint = f"Compare the fingerprint there and connect once with {shell_command('ssh', name)}, or set"
                hint += " `ssh.host_key: accept-new`"
        else:
            serial_port = ("gcloud", "compute", "instances", "get-serial-port-output")
            hint = (
                "Set the metadata `enable-guest-attributes=TRUE` and restart the machine, or compare the fingerprint "
                f"with {shell_command(*serial_port, name)} and set `ssh.host_key: accept-new`"
            )
        return SshError("host-key-unknown", f"Can't verify the host key of {name}", why, hint)

    def _unverified(self, verdict: str, why: str) -> SshError:
        hint = f"Ask the administrator of {self._instance.name} for its current host key"
        return SshError("host-key-unknown", f"The host key of {self._instance.name} {verdict}", why, hint)


def _describe(key: HostKey) -> str:
    return f"{key.kind} {key.fingerprint}"
