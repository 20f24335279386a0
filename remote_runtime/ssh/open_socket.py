"""The socket to a machine's SSH port: an ordinary connection, a ProxyCommand, a passage, or through jump hosts."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, HealthError, SshError
from ..core.model import Instance
from ..core.profile import SshSettings, SshTarget
from .connect_options import ConnectOptions, RetryableError
from .connectors import ConnectFailed, Connection, connect_tcp, start_proxy_command
from .files.paths import local_username
from .files.ssh_config import parse_jump_host, resolve
from .session import Session

_MAX_JUMPS = 8
# The end of a connection through a jump host may be known before that of the connection to it.
_CLOSE_REASON_WAIT_S = 0.3
_TICK_S = 0.05
_HINTS = {
    "unknown host": "Check `target.host`",
    "refused": "Start the SSH server there, or set its port: `target.port`",
    "silent": "Check that it is on, and that your network, VPN and its firewall lead there",
    "unreachable": "Check your network and VPN, and `target.host`",
}
_CONNECTOR_FAILURES = {"iap-backend-unreachable": "silent", "iap-unreachable": "hung up"}
ConnectJump = Callable[[Instance, SshSettings, ConnectOptions, Deadline], Session]


def open_connection(
    instance: Instance,
    settings: SshSettings,
    options: ConnectOptions,
    deadline: Deadline,
    undo: ExitStack,
    *,
    connect_jump: ConnectJump,
    depth: int,
) -> tuple[Any, Connection | None]:
    """A socket, and what it leads through if that has something to say. ``enter``: enters a jump host. Raises
    ``NotYet``, ``SshError``, ``Interrupted``."""
    connection: Connection
    if options.reach is not None:
        try:
            connection = options.reach(options.answer_by)
        except SshError as error:
            kind = _CONNECTOR_FAILURES.get(error.code)
            if kind is None:
                raise
            raise RetryableError(kind, error) from error
    elif settings.proxy_jump:
        if depth >= _MAX_JUMPS:
            why = " → ".join(settings.proxy_jump)
            hint = "Correct `ProxyJump` in ~/.ssh/config, or `target.jump`"
            raise SshError("ssh-config-unsupported", "The jump hosts lead to each other", why, hint)
        connection = _connect_through_jump(instance, settings, options, deadline, undo, connect_jump)
    elif settings.proxy_command:
        connection = start_proxy_command(
            settings.proxy_command, instance.address, instance.port, login_name(settings), instance.name
        )
    else:
        return _connect_tcp(instance, settings, options), None
    undo.callback(connection.close)
    return connection.socket, connection


def login_name(settings: SshSettings) -> str:
    user = settings.user or local_username()
    if not user:
        what = "It is not known as whom to log in"
        raise SshError("ssh-config-unsupported", what, "this computer has no name for you", "Set `ssh.user`")
    return user


def _connect_tcp(instance: Instance, settings: SshSettings, options: ConnectOptions) -> Any:
    try:
        within, family = options.connect_by(), settings.address_family
        return connect_tcp(instance.address, instance.port, within, family, options.keys.addresses)
    except ConnectFailed as error:
        what = f"Nothing answers at {instance.where}"
        hint = _HINTS[error.kind] if instance.kind == "ssh" else ""  # Compute Engine knows more of its own
        raise RetryableError(error.kind, SshError("ssh-unreachable", what, error.why, hint)) from error


def _connect_through_jump(
    instance: Instance,
    settings: SshSettings,
    options: ConnectOptions,
    deadline: Deadline,
    undo: ExitStack,
    connect_jump: ConnectJump,
) -> Connection:
    """A channel from the last jump host; each is verified and logged in to like any other machine."""
    *before, last = settings.proxy_jump
    user, host, port = parse_jump_host(last)
    overrides = replace(SshSettings(), user=user, host_key=settings.host_key, identity_file=settings.identity_file)
    hop, hop_settings = resolve(
        SshTarget(host, port, tuple(before)), overrides, environ=options.environ, deadline=deadline
    )
    try:
        session = connect_jump(hop, hop_settings, replace(options, wanted=(), reach=None), deadline)
    except SshError as error:
        raise _jump_error(last, host, error) from error
    undo.callback(session.close)
    try:
        return _JumpConnection(session, last, session.open_jump(instance.address, instance.port, deadline))
    except (HealthError, SshError, DeadlinePassed) as error:
        why = f"the jump host {last} cannot reach it: {error.why or error.what}"
        what = f"Nothing answers at {instance.address}:{instance.port}"
        hint = f"Check `target.host` and `target.port`, as {last} sees them"
        if isinstance(error, SshError) and error.hint:  # it does not forward at all
            what, hint = f"The jump host {last} forwards no connection to the machine", f"At {last}: {error.hint}"
        raise RetryableError("refused", SshError("ssh-unreachable", what, why, hint)) from error


class _JumpConnection:
    """``socket``: a connection that the jump host ``name`` makes for us."""

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


def _jump_error(hop: str, host: str, error: SshError) -> SshError:
    """Its own words name the jump host already if it is on the way to another one."""
    if isinstance(error, _JumpError):
        return error
    hint = error.hint
    if "`ssh." in hint or "`target." in hint:  # these are the machine's
        hint = f"Set `User` and `IdentityFile` under `Host {host}` in ~/.ssh/config, or `target.jump: [USER@{host}]`"
        if error.code != "no-usable-key":
            hint = f"Check `target.jump` in the profile, and `Host {host}` in ~/.ssh/config"
    what = f"At the jump host {hop}: {error.what}"
    return _JumpError(error.code, what, error.why, hint)


class _JumpError(SshError):
    """Of a jump host."""
