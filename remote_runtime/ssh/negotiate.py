"""From a connected socket to an encrypted link; and what is said of a server with which that fails."""

from __future__ import annotations

import time

import paramiko

from ..core.errors import SshError
from ..core.sanitize import clean_line
from .connect_options import ConnectOptions, RetryableError, WaitProgress
from .connectors import Connection, NoVersionReceived
from .proxy_command import ProxyCommand
from .transport.algorithms import find_mismatch
from .transport.transport import Transport

LONGER_TIMEOUT_HINT = "`timeouts.ssh` in the profile gives it longer, for example `3m`"
_SERVER_LOG_HINT = "The log of its SSH server tells more: `sudo journalctl -u ssh` on the machine"
# Loss shows after that; and a server that is only slow has answered after this.
_LOST_AFTER_S, _SLOW_S = 0.9, 8.0
# What OpenSSH says instead of its version: since 9.8 (PerSourcePenalties), and since 8.5 (MaxStartups).
_BUSY_MESSAGES = {
    "Not allowed at this time": "it refuses this address for a while, after logins that failed (PerSourcePenalties)",
    "Exceeded MaxStartups": "too many logins are under way there at once (MaxStartups)",
}


def negotiate(transport: Transport, where: str, options: ConnectOptions, connection: Connection | None) -> None:
    """Raises ``NotYet``, ``SshError``, ``Interrupted``. ``passage``: what leads there, if it is no plain socket."""
    deadline = options.answer_by
    started_at = time.monotonic()
    on_wait = WaitProgress(options.tell, lambda: f"{where} ({_handshake_state(transport, connection)})", deadline)
    try:
        transport.negotiate(deadline, on_wait)
    except (EOFError, OSError, paramiko.SSHException) as error:
        if isinstance(error, TimeoutError) or deadline.passed():
            raise _timeout_error(transport, where, connection, time.monotonic() - started_at) from error
        raise _handshake_error(transport, where, connection, error) from error


def hung_up_error(where: str, why: str, hint: str = _SERVER_LOG_HINT) -> RetryableError:
    return RetryableError(
        "hung up", SshError("ssh-refused", f"The SSH server at {where} closes the connection", why, hint)
    )


def connection_lost_error(where: str, when: str, why: str, *, is_command: bool) -> RetryableError:
    """Not by the server. ``is_command``: through a ProxyCommand."""
    hint = "Correct `ProxyCommand` in ~/.ssh/config" if is_command else ""
    return RetryableError("hung up", SshError("ssh-unreachable", f"The connection to {where} ended {when}", why, hint))


def _handshake_state(transport: Transport, connection: Connection | None) -> str:
    if transport.remote_version:
        return "it has greeted, and the key exchange does not get on"
    said = connection.stderr_tail() if isinstance(connection, ProxyCommand) else ""
    return (
        f"no greeting yet; the ProxyCommand says: {said}"
        if said
        else transport.server_text.append_to("no greeting yet")
    )


def _timeout_error(transport: Transport, where: str, connection: Connection | None, waited_s: float) -> RetryableError:
    if transport.remote_version:
        version = clean_line(transport.remote_version, 80)
        how_far = (
            "the key exchange began and got no further"
            if transport.server_algorithms
            else "nothing of the key exchange arrived"
        )
        since_s = time.monotonic() - transport.version_received_at
        why = f"the server greets ({version}), and {how_far} in the {since_s:.1f} s after that"
        if since_s < _LOST_AFTER_S:
            return RetryableError(
                "silent", SshError("ssh-unreachable", f"No key exchange with {where}", why, LONGER_TIMEOUT_HINT)
            )
        why += ": large packets may get lost on the way, as with the MTU of a VPN"
        hint = "Give the VPN's network interface a smaller MTU: `sudo ip link set dev INTERFACE mtu 1280` on Linux"
        if since_s < _SLOW_S:
            hint = f"{LONGER_TIMEOUT_HINT}; if that does not help: {hint[0].lower()}{hint[1:]}"
        return RetryableError("silent", SshError("ssh-unreachable", f"No key exchange with {where}", why, hint))
    if isinstance(connection, ProxyCommand):
        why = f"no SSH server answered through the ProxyCommand in {waited_s:.0f} s"
        if ended := connection.close_reason():
            why += f"; {ended}, and what it has left running keeps the connection open"
        elif connection.stderr_tail():
            why += f"; it says: {connection.stderr_tail()}"
    elif str(transport.server_text):
        why = transport.server_text.append_to(f"it sends text, and no SSH version in {waited_s:.0f} s")
    else:
        why = f"it accepts connections and says nothing for {waited_s:.0f} s"
    return RetryableError(
        "silent", NoVersionReceived("ssh-unreachable", f"No SSH server answers at {where}", why, LONGER_TIMEOUT_HINT)
    )


def _handshake_error(
    transport: Transport, where: str, connection: Connection | None, error: Exception
) -> RetryableError | SshError:
    if not transport.remote_version:
        return _no_version_error(transport, where, connection, error)
    why, hint = ("", "")
    if transport.server_algorithms:
        why, hint = find_mismatch(
            transport.server_algorithms, transport.get_security_options(), transport.remote_version
        )
    if why:
        return SshError("ssh-refused", f"The SSH server at {where} has no algorithm in common with this end", why, hint)
    if ended := transport.sock_close_reason():
        return connection_lost_error(
            where, "during the key exchange", ended, is_command=isinstance(connection, ProxyCommand)
        )
    if transport.disconnect_text:
        return hung_up_error(where, transport.server_text.append_to(transport.disconnect_text))
    if isinstance(error, paramiko.SSHException):
        why = clean_line(str(error), 300)
        return SshError("ssh-refused", f"The key exchange with {where} fails", why, _SERVER_LOG_HINT)
    return hung_up_error(
        where, transport.server_text.append_to("the server closes the connection during the key exchange")
    )


def _no_version_error(
    transport: Transport, where: str, connection: Connection | None, error: Exception
) -> RetryableError | SshError:
    if ended := transport.sock_close_reason():
        is_command = isinstance(connection, ProxyCommand)
        when = "before the greeting of an SSH server"
        problem = connection_lost_error(where, when, transport.server_text.append_to(ended), is_command=is_command)
        return problem.error if isinstance(connection, ProxyCommand) and connection.cannot_run else problem
    said = str(transport.server_text)
    for words, meaning in _BUSY_MESSAGES.items():
        if words in said:
            hint = (
                "Wait some minutes; a `PerSourcePenaltyExemptList` or a larger `MaxStartups` in its sshd_config helps"
            )
            what = f"The SSH server at {where} takes no connection now"
            return RetryableError("not now", SshError("ssh-refused", what, f"{meaning}: {words}", hint))
    if transport.server_text.first_line.startswith("HTTP/"):
        hint = "Set the port of its SSH server: `target.port`, or `ssh.port` for a VM"
        what, why = f"An HTTP server answers at {where}, not SSH", f"it says: {transport.server_text.first_line}"
        return SshError("ssh-refused", what, why, hint)
    if isinstance(error, paramiko.SSHException):
        what = f"No SSH server that is understood answers at {where}"
        return SshError(
            "ssh-refused", what, transport.server_text.append_to(clean_line(str(error), 200)), "Check the port"
        )
    return hung_up_error(where, transport.server_text.append_to("the server closes the connection before the greeting"))
