"""The connection to a machine's SSH port: TCP, a ProxyCommand, jump hosts, or what a connector of the caller opens."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from ..core.errors import DeadlinePassed, HealthError, SshError
from ..core.profile import SshSettings, SshTarget
from .connect_request import ConnectRequest, RetryableError
from .connectors import ConnectFailed, Connection, TcpConnection, connect_tcp
from .files.ssh_config import parse_jump_host, resolve
from .proxy_command import start_proxy_command
from .session import Session

_MAX_JUMPS = 8
# The end of a connection through a jump host may be noticed before that of the connection to the jump host.
_CLOSE_REASON_WAIT_S = 0.3
_TICK_S = 0.05
_HINTS = {
    "unknown host": "Check `target.host`",
    "refused": "Start the SSH server there, or set its port in `target.port`",
    "silent": "Check that it is on, and your network, VPN and its firewall",
    "unreachable": "Check your network and VPN, and `target.host`",
}
_CONNECTOR_FAILURES = {"iap-backend-unreachable": "silent", "iap-unreachable": "hung up"}


def open_connection(
    request: ConnectRequest, undo: ExitStack, connect_jump: Callable[[ConnectRequest], Session]
) -> Connection:
    """``undo`` closes it. ``connect_jump`` connects to a jump host.

    Raises ``RetryableError``, ``SshError``, ``Interrupted``."""
    instance, settings = request.instance, request.settings
    if request.connector is not None:
        try:
            connection = request.connector(request.respond_by)
        except SshError as error:
            kind = _CONNECTOR_FAILURES.get(error.code)
            if kind is None:
                raise
            raise RetryableError(kind, error) from error
    elif settings.proxy_jump:
        if request.jumps >= _MAX_JUMPS:
            route = " → ".join(settings.proxy_jump)
            hint = "Correct `ProxyJump` in ~/.ssh/config, or `target.jump`"
            raise SshError("ssh-config-unsupported", f"ProxyJump loop: {route}", "a jump host needs itself", hint)
        connection = _connect_through_jump(request, undo, connect_jump)
    elif settings.proxy_command:
        connection = start_proxy_command(
            settings.proxy_command, instance.address, instance.port, request.user, instance.name
        )
    else:
        connection = _connect_tcp(request)
    undo.callback(connection.close)
    return connection


def _connect_tcp(request: ConnectRequest) -> Connection:
    instance, family = request.instance, request.settings.address_family
    try:
        sock = connect_tcp(instance.address, instance.port, request.connect_by(), family, request.keys.addresses)
        return TcpConnection(sock)
    except ConnectFailed as error:
        what = f"Can't connect to {instance.where}"
        hint = _HINTS[error.kind] if instance.kind == "ssh" else ""  # compute knows more of its instances
        raise RetryableError(error.kind, SshError("ssh-unreachable", what, error.why, hint)) from error


def _connect_through_jump(
    request: ConnectRequest, undo: ExitStack, connect_jump: Callable[[ConnectRequest], Session]
) -> Connection:
    """A channel of the session with the last jump host, which is verified and logged in to like any other machine."""
    instance, settings, deadline = request.instance, request.settings, request.deadline
    *before, last = settings.proxy_jump
    user, host, port = parse_jump_host(last)
    wanted = replace(SshSettings(), user=user, host_key=settings.host_key, identity_file=settings.identity_file)
    target = SshTarget(host, port, tuple(before))
    jump_host, jump_settings = resolve(target, wanted, environ=request.environ, deadline=deadline)
    jump = replace(request, instance=jump_host, settings=jump_settings, jumps=request.jumps + 1)
    try:
        session = connect_jump(replace(jump, accepted_keys=(), connector=None))
    except SshError as error:
        raise _jump_error(last, host, error) from error
    undo.callback(session.close)
    try:
        return _JumpConnection(session, last, session.open_jump(instance.address, instance.port, deadline))
    except (HealthError, SshError, DeadlinePassed) as error:
        why = f"the jump host {last} can't reach it: {error.why or error.what}"
        what = f"Can't connect to {instance.address}:{instance.port}"
        hint = f"Check `target.host` and `target.port` from {last}"
        if isinstance(error, SshError) and error.hint:  # it does not forward at all
            what, hint = f"The jump host {last} does not forward connections", f"At {last}: {error.hint}"
        raise RetryableError("refused", SshError("ssh-unreachable", what, why, hint)) from error


class _JumpConnection:
    """``socket``: a connection that the jump host ``name`` makes."""

    def __init__(self, session: Session, name: str, connection: Any) -> None:
        self.socket = connection
        self._session = session
        self._name = name

    def close_reason(self) -> str:
        end = time.monotonic() + _CLOSE_REASON_WAIT_S
        while not self._session.closed and time.monotonic() < end:
            time.sleep(_TICK_S)
        why = self._session.why_closed
        return f"the connection to the jump host {self._name} ended: {why}" if why else ""

    def close(self) -> None:
        """What it leads through is closed after it."""


def _jump_error(jump_host: str, host: str, error: SshError) -> SshError:
    """Its own words name the jump host already if it is on the way to another one."""
    if isinstance(error, _JumpError):
        return error
    hint = error.hint
    if "`ssh." in hint or "`target." in hint:  # these are the machine's
        hint = f"Set `User` and `IdentityFile` under `Host {host}` in ~/.ssh/config, or `target.jump: [USER@{host}]`"
        if error.code != "no-usable-key":
            hint = f"Check `target.jump` in the profile, and `Host {host}` in ~/.ssh/config"
    what = f"At the jump host {jump_host}: {error.what}"
    return _JumpError(error.code, what, error.why, hint)


class _JumpError(SshError):
    """Of a jump host."""
