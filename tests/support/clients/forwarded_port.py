"""A local port that leads to a service of the machine."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from remote_runtime.core.errors import RemoteRuntimeError
from remote_runtime.core.model import Secret
from remote_runtime.lifecycle.upstream import SessionUpstream
from remote_runtime.ssh.session import Session
from remote_runtime.tunnel import ports
from remote_runtime.tunnel.identity import ServerIdentity, Stream
from remote_runtime.tunnel.port_forwarder import PortForwarder
from remote_runtime.tunnel.protocols import Forwarder
from remote_runtime.tunnel.relay import SocketStream

from ..servers.echo_servers import WITHIN_S, Handler, Target


class DirectUpstream:
    """Without SSH: each connection has a thread. ``closed`` and ``refuses`` are the tests' to set."""

    def __init__(self, target: Target, refuses: RemoteRuntimeError | None = None) -> None:
        self.closed = False
        self.refuses = refuses
        self._target = target

    def dial(self) -> Stream:
        if self.refuses is not None:
            raise self.refuses
        return SocketStream(socket.create_connection(self._target.address, timeout=WITHIN_S))

    def open_forwarder(self, identity: object) -> None:
        """None."""


class TimedUpstream:
    """Of a session, with a limit for opening a channel."""

    closed = False

    def __init__(self, session: Session, host: str, port: int, open_timeout_s: float) -> None:
        self._session, self._host, self._port, self._open_timeout_s = session, host, port, open_timeout_s

    def dial(self) -> Stream:
        return self._session.dial(self._host, self._port, within_s=WITHIN_S)

    def open_forwarder(self, identity: ServerIdentity | None) -> Forwarder:
        return self._session.local_channel_pool(
            self._host, self._port, identity=identity, open_timeout_s=self._open_timeout_s
        )


def visit(opened: PortForwarder, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((address, opened.port), timeout=WITHIN_S)


@contextlib.contextmanager
def leading_to(session: Session, handle: Handler, *, token: Secret | None = None) -> Iterator[PortForwarder]:
    with Target(handle) as target:
        opened = PortForwarder(ports.bind(None))
        try:
            opened.set_upstream(SessionUpstream(session, *target.address), token)
            yield opened
        finally:
            opened.close()
