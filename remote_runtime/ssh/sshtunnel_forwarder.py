"""``forward.engine: sshtunnel``: a second login, by the sshtunnel library, with the host key that was verified.

It is slower than the fast engine, and supports no Unix sockets, no half-closed connections and no jump hosts. It stays
because a profile can set it; everything else uses ``Session``.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, cast

import paramiko

from ..core.callbacks import Progress
from ..core.deadline import Deadline
from ..core.errors import HealthError, SshError
from ..core.sanitize import clean_line
from ..tunnel.relay import SocketStream
from .connect_request import ConnectRequest, RetryableError
from .files.known_hosts import HostKey
from .open_connection import open_connection
from .session import Session
from .transport.algorithms import KEX_INFO, restrict_algorithms
from .transport.server_text import ServerText, read_version
from .transport.transport import silence_paramiko

_DIAL_TIMEOUT_S = 10.0
_TICK_S = 0.1


class SshtunnelForwarder:
    """``dial`` reaches the one port of the machine that the tunnel was opened for."""

    def __init__(self, forwarder: Any, where: str, release: Callable[[], None]) -> None:
        self._forwarder = forwarder
        self._where = where
        self._release = release
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed or not self._forwarder.is_active

    def dial(self) -> SocketStream:
        """sshtunnel knows no half-closed connections: ``shutdown_write`` ends both directions, and what the machine has
        not sent by then is lost. Raises ``SshError`` ``ssh-unreachable``, ``HealthError`` ``not-answering``."""
        if self.closed:
            raise SshError("ssh-unreachable", "The SSH connection of sshtunnel is lost")
        try:
            connection = socket.create_connection(
                ("127.0.0.1", self._forwarder.local_bind_port), timeout=_DIAL_TIMEOUT_S
            )
        except OSError as error:
            raise HealthError("not-answering", f"{self._where} does not respond", str(error)) from error
        return SocketStream(connection)

    def close(self) -> None:
        """Ends its connections too."""
        if not self._closed:
            self._closed = True
            self._release()


def open_tunnel(
    session: Session, host: str, port: int, *, progress: Progress, deadline: Deadline
) -> SshtunnelForwarder:
    """See ``remote_runtime.ssh.open_sshtunnel``."""
    instance, settings = session.instance, session.request.settings
    hint = "`forward.engine: auto`"
    if settings.proxy_jump:
        raise SshError("ssh-config-unsupported", "sshtunnel does not support jump hosts", hint=hint)
    if session.key is None:
        raise SshError("no-usable-key", "sshtunnel requires a key, the machine needs none", hint=hint)
    silence_paramiko()
    progress("Logging in a second time, for sshtunnel")
    with ExitStack() as undo:
        sock = _connect(session, deadline, undo)
        forwarder = _make_forwarder(session, sock, (host, port), deadline)
        undo.callback(_stop, forwarder)
        with _enforce_deadline(sock, deadline):
            try:
                forwarder.start()
            except Exception as error:  # sshtunnel raises its own kinds, paramiko's and OSError
                deadline.check()
                _check_host_key(forwarder.login, session)
                why = clean_line(str(error), 300) or "no response in time"
                what = f"sshtunnel can't connect to {instance.where}"
                raise SshError("ssh-refused", what, why, f"{hint} needs no login of its own") from error
        return SshtunnelForwarder(forwarder, f"{host}:{port} on the machine", undo.pop_all().close)


def _check_host_key(login: paramiko.Transport | None, session: Session) -> None:
    """sshtunnel refuses another host key without saying so. Raises ``SshError`` ``host-key-changed``."""
    shown = login.host_key if login is not None else None
    if shown is None:
        return
    now, known = HostKey(shown.get_name(), shown.get_base64()), session.host_key
    if now != known:
        why = (
            f"sshtunnel's login was shown {now.kind} {now.fingerprint}, the one before {known.kind} {known.fingerprint}"
        )
        raise SshError("host-key-changed", f"The host key of {session.instance.name} has changed", why)


def _connect(session: Session, deadline: Deadline, undo: ExitStack) -> socket.socket:
    def connect_jump(request: ConnectRequest) -> Session:
        raise ValueError("there is no jump host")

    try:
        request = replace(session.request, deadline=deadline, respond_by=deadline, reconnect=False)
        sock = open_connection(request, undo, connect_jump).socket
    except RetryableError as problem:
        raise problem.error from problem
    undo.callback(sock.close)
    return sock


def _make_forwarder(session: Session, sock: socket.socket, target: tuple[str, int], deadline: Deadline) -> Any:
    """sshtunnel's defaults are an unchecked host key, all interfaces, the agent, ~/.ssh, and 15 s for the server's
    version: every one is set here."""
    import sshtunnel

    instance, settings = session.instance, session.request.settings

    class CheckedForwarder(sshtunnel.SSHTunnelForwarder):  # type: ignore[misc]  # it has no types
        login: paramiko.Transport | None = None

        def _get_transport(self) -> paramiko.Transport:
            transport: Any = super()._get_transport()
            transport._kex_info = KEX_INFO
            restrict_algorithms(transport, settings.allowed_algorithms)
            within_s = deadline.remaining_s()
            transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = within_s
            transport._check_banner = lambda: read_version(transport, ServerText())
            self.login = cast(paramiko.Transport, transport)
            return self.login

    forwarder = CheckedForwarder(
        (instance.address, instance.port),
        ssh_username=session.user,
        ssh_host_key=paramiko.PKey.from_type_string(session.host_key.kind, base64.b64decode(session.host_key.data)),
        ssh_pkey=session.key,
        ssh_proxy=_ConnectedSocket(sock),
        ssh_config_file=None,
        host_pkey_directories=[],
        allow_agent=False,
        compression=False,
        remote_bind_address=target,
        local_bind_address=("127.0.0.1", 0),
        set_keepalive=settings.keepalive_s,
        # With this logger it adds no handler that prints to stderr.
        logger=logging.getLogger("sshtunnel.SSHTunnelForwarder"),
    )
    forwarder.daemon_forward_servers = True
    forwarder.daemon_transport = True
    return forwarder


class _ConnectedSocket:
    """A connected socket that sshtunnel does not connect again, as it would a ``socket.socket``."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.recv = sock.recv
        self.send = sock.send
        self.settimeout = sock.settimeout

    @property
    def _closed(self) -> bool:
        return self._socket.fileno() == -1

    def close(self) -> None:
        """Only paramiko's own thread may close the descriptor; a shutdown wakes it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def _enforce_deadline(sock: socket.socket, deadline: Deadline) -> Iterator[None]:
    """sshtunnel has no deadline for its login; a dead socket ends it."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_TICK_S):
            if deadline.passed() or deadline.cancelled.is_set():
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                return

    watcher = threading.Thread(target=watch, name="sshtunnel deadline", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _stop(forwarder: Any) -> None:
    transport = getattr(forwarder, "_transport", None)
    with contextlib.suppress(Exception):  # what sshtunnel raises while it stops is of no use to anyone
        forwarder.stop(force=True)
    if isinstance(transport, paramiko.Transport):
        transport.packetizer.complete_handshake()
        if transport.is_alive():
            transport.join(2.0)
