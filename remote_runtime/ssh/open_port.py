"""A connection to a machine's SSH port for another SSH client, which verifies the host key and logs in by itself."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TypeVar

from ..core.errors import SshError
from ..tunnel.single_connection import relay_in_background
from .auth.host_keys import HostKeyPolicy
from .connect_request import ConnectRequest, RetryableError, WaitProgress
from .connectors import Connection, NoVersionReceived
from .files.known_hosts import HostKey
from .files.paths import home_dir
from .negotiate import LONGER_TIMEOUT_HINT, hung_up_error
from .open_connection import open_connection
from .open_session import connect_with_retries
from .transport.channel import TransportChannel
from .transport.stream import ChannelStream
from .verified_transport import open_verified

_MAX_TRIES = 3
_PAUSE_S = 0.3
_TICK_S = 0.1

T = TypeVar("T")


class SshPort:
    """``socket``: blocking; the SSH server's version is the first that it receives. ``host_keys``: ``TYPE BASE64`` of
    those to accept. ``close`` closes it, and the logins at jump hosts."""

    def __init__(self, sock: socket.socket, host_keys: Sequence[str], release: Callable[[], None]) -> None:
        self.socket = sock
        self.host_keys = tuple(host_keys)
        self._release = release

    def close(self) -> None:
        self.socket.close()
        self._release()


def open_ssh_port(request: ConnectRequest) -> SshPort:
    """See ``remote_runtime.ssh.open_ssh_port``."""
    host_keys = _trusted_host_keys(request)
    return _retried(request, lambda: _open(request, host_keys))


def _trusted_host_keys(request: ConnectRequest) -> list[str]:
    policy = HostKeyPolicy(request.instance, request.settings, pins=request.pins, home=home_dir(request.environ))
    keys = policy.trusted_keys() or [_retried(request, lambda: _connect_once(request))]
    return [f"{key.kind} {key.data}" for key in keys]


def _retried(request: ConnectRequest, attempt: Callable[[], T]) -> T:
    for number in range(1, _MAX_TRIES + 1):
        try:
            return attempt()
        except RetryableError as problem:
            if number == _MAX_TRIES or problem.kind not in ("refused", "hung up") or request.respond_by.passed():
                raise problem.error from problem
            request.deadline.sleep(_PAUSE_S)
    raise ValueError("there is at least one attempt")


def _connect_once(request: ConnectRequest) -> HostKey:
    with ExitStack() as undo:
        return open_verified(request, undo, connect_with_retries)[1]


def _open(request: ConnectRequest, host_keys: Sequence[str]) -> SshPort:
    with ExitStack() as undo:
        connection = open_connection(request, undo, connect_with_retries)
        sock = _as_socket(connection.socket)
        undo.callback(sock.close)
        _wait_for_version(sock, connection, request)
        return SshPort(sock, host_keys, undo.pop_all().close)


def _as_socket(opened: socket.socket | TransportChannel) -> socket.socket:
    """A jump host without AES-GCM has a channel for it."""
    if isinstance(opened, socket.socket):
        return opened
    ours, theirs = socket.socketpair()
    stream = ChannelStream(opened)
    relay_in_background(theirs, stream, lambda: stream.closed)
    return ours


def _wait_for_version(sock: socket.socket, connection: Connection, request: ConnectRequest) -> None:
    """An SSH server sends its version at once (RFC 4253 4.2)."""
    where, deadline = request.instance.where, request.respond_by
    on_wait = WaitProgress(request.progress, lambda: f"the SSH server at {where}", deadline)
    sock.settimeout(_TICK_S)
    while True:
        try:
            is_open = bool(sock.recv(1, socket.MSG_PEEK))
        except TimeoutError:
            deadline.check()
            on_wait()
            if deadline.passed():
                what = f"No response from an SSH server at {where}"
                why = f"it accepts connections but sends nothing for {deadline.timeout_s:.0f} s"
                error = NoVersionReceived("ssh-unreachable", what, why, LONGER_TIMEOUT_HINT)
                raise RetryableError("silent", error) from None
        except OSError as error:
            raise _ended(where, connection, error.strerror or str(error)) from error
        else:
            if not is_open:
                raise _ended(where, connection, "the server closed the connection before it sent an SSH version")
            sock.settimeout(None)
            return


def _ended(where: str, connection: Connection, why: str) -> RetryableError:
    if reason := connection.close_reason():
        what = f"The connection to {where} ended before it sent an SSH version"
        return RetryableError("hung up", SshError("ssh-unreachable", what, reason))
    return hung_up_error(where, why)
