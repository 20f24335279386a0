"""The key exchange with an SSH server, and the errors for servers with which it fails."""

from __future__ import annotations

import time

import paramiko

from ..core.errors import SshError
from ..core.sanitize import clean_line
from .connect_request import ConnectRequest, RetryableError, WaitProgress
from .connectors import Connection, NoVersionReceived
from .proxy_command import ProxyCommand
from .transport.algorithms import find_mismatch
from .transport.transport import Transport

LONGER_TIMEOUT_HINT = "Set a longer `timeouts.ssh` in the profile, for example `3m`"
_SERVER_LOG_HINT = "Check the SSH server's log on the machine with `sudo journalctl -u ssh`"
# Silence after the version means lost packets after the first time, and cannot be slowness after the second.
_LOST_AFTER_S, _SLOW_S = 0.9, 8.0
# What OpenSSH says instead of its version: since 9.8 (PerSourcePenalties), and since 8.5 (MaxStartups).
_BUSY_MESSAGES = {
    "Not allowed at this time": "it blocks this address for a while after failed logins (PerSourcePenalties)",
    "Exceeded MaxStartups": "too many logins are in progress there (MaxStartups)",
}


def negotiate(transport: Transport, connection: Connection, request: ConnectRequest) -> None:
    """Exchange versions and keys before ``request.respond_by``.

    Raises ``RetryableError``, ``SshError``, ``Interrupted``."""
    handshake, deadline = _Handshake(transport, connection, request.instance.where), request.respond_by
    started_at = time.monotonic()
    on_wait = WaitProgress(request.progress, lambda: f"{request.instance.where} ({handshake.state()})", deadline)
    try:
        transport.negotiate(deadline, on_wait)
    except (EOFError, OSError, paramiko.SSHException) as error:
        if isinstance(error, TimeoutError) or deadline.passed():
            raise handshake.timeout_error(time.monotonic() - started_at) from error
        raise handshake.error(error) from error


def hung_up_error(where: str, why: str, hint: str = _SERVER_LOG_HINT) -> RetryableError:
    what = f"The SSH server at {where} closed the connection"
    return RetryableError("hung up", SshError("ssh-refused", what, why, hint))


def connection_lost_error(where: str, when: str, why: str, *, is_command: bool) -> RetryableError:
    """The connection ended, and not by the server. ``is_command``: it was a ProxyCommand."""
    hint = "Correct `ProxyCommand` in ~/.ssh/config" if is_command else ""
    return RetryableError("hung up", SshError("ssh-unreachable", f"The connection to {where} ended {when}", why, hint))


class _Handshake:
    """How far it has come, and what to raise when it fails."""

    def __init__(self, transport: Transport, connection: Connection, where: str) -> None:
        self._transport = transport
        self._command = connection if isinstance(connection, ProxyCommand) else None
        self._where = where

    def state(self) -> str:
        if self._transport.remote_version:
            return "it sent its version, but the key exchange stalls"
        if self._command and (said := self._command.stderr_tail()):
            return f"no version received yet; the ProxyCommand prints: {said}"
        return self._transport.server_text.append_to("no version received yet")

    def timeout_error(self, waited_s: float) -> RetryableError:
        text = self._transport.server_text
        if self._transport.remote_version:
            return self._key_exchange_timeout()
        if self._command:
            why = f"no response through the ProxyCommand within {waited_s:.0f} s"
            if ended := self._command.close_reason():
                why += f"; {ended}, and a process that it started keeps the connection open"
            elif said := self._command.stderr_tail():
                why += f"; it prints: {said}"
        elif str(text):
            why = text.append_to(f"it sends text but no SSH version in {waited_s:.0f} s")
        else:
            why = f"it accepts connections but sends nothing for {waited_s:.0f} s"
        what = f"No response from an SSH server at {self._where}"
        return RetryableError("silent", NoVersionReceived("ssh-unreachable", what, why, LONGER_TIMEOUT_HINT))

    def _key_exchange_timeout(self) -> RetryableError:
        version = clean_line(self._transport.remote_version, 80)
        how_far = "nothing of the key exchange arrived"
        if self._transport.server_algorithms:
            how_far = "the key exchange began and got no further"
        since_s = time.monotonic() - self._transport.version_received_at
        why = f"the server sent its version ({version}), and {how_far} in the {since_s:.1f} s after that"
        hint = LONGER_TIMEOUT_HINT
        if since_s >= _LOST_AFTER_S:
            why += ": large packets may get lost, as with the MTU of a VPN"
            mtu = "Give the VPN's network interface a smaller MTU: `sudo ip link set dev INTERFACE mtu 1280` on Linux"
            hint = f"{hint}; if that does not help: {mtu[0].lower()}{mtu[1:]}" if since_s < _SLOW_S else mtu
        return RetryableError("silent", SshError("ssh-unreachable", f"No key exchange with {self._where}", why, hint))

    def error(self, error: Exception) -> RetryableError | SshError:
        transport, where = self._transport, self._where
        if not transport.remote_version:
            return self._no_version_error(error)
        if transport.server_algorithms:
            options = transport.get_security_options()
            why, hint = find_mismatch(transport.server_algorithms, options, transport.remote_version)
            if why:
                what = f"No algorithm in common with the SSH server at {where}"
                return SshError("ssh-refused", what, why, hint)
        if ended := transport.sock_close_reason():
            is_command = self._command is not None
            return connection_lost_error(where, "during the key exchange", ended, is_command=is_command)
        if isinstance(error, paramiko.SSHException) and not transport.disconnect_text:
            why = clean_line(str(error), 300)
            return SshError("ssh-refused", f"The key exchange with {where} failed", why, _SERVER_LOG_HINT)
        why = transport.disconnect_text or "the server closed the connection during the key exchange"
        return hung_up_error(where, transport.server_text.append_to(why))

    def _no_version_error(self, error: Exception) -> RetryableError | SshError:
        text, where = self._transport.server_text, self._where
        if ended := self._transport.sock_close_reason():
            when = "before it sent an SSH version"
            is_command = self._command is not None
            lost = connection_lost_error(where, when, text.append_to(ended), is_command=is_command)
            return lost.error if self._command and self._command.cannot_run else lost
        for words, meaning in _BUSY_MESSAGES.items():
            if words in str(text):
                hint = "Wait some minutes, or set `PerSourcePenaltyExemptList` or `MaxStartups` in its sshd_config"
                what = f"The SSH server at {where} accepts no connection now"
                return RetryableError("not now", SshError("ssh-refused", what, f"{meaning}: {words}", hint))
        if text.first_line.startswith("HTTP/"):
            hint = "Set the port of its SSH server: `target.port`, or `ssh.port` for a VM"
            what, why = f"{where} is an HTTP server, not an SSH server", f"it sent: {text.first_line}"
            return SshError("ssh-refused", what, why, hint)
        if isinstance(error, paramiko.SSHException):
            what, why = f"{where} is not a supported SSH server", clean_line(str(error), 200)
            return SshError("ssh-refused", what, text.append_to(why), "Check the port")
        return hung_up_error(where, text.append_to("the server closed the connection before it sent an SSH version"))
