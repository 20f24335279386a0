"""A local port whose connections go to a Jupyter server as streams, over one SSH connection after the other."""

from __future__ import annotations

import contextlib
import socket

from remote_runtime.core.model import Secret
from remote_runtime.lifecycle.upstream import SessionUpstream
from remote_runtime.ssh.streams.client_streams import ClientStreams
from remote_runtime.tunnel import ports
from remote_runtime.tunnel.port_forwarder import PortForwarder

from ..servers.jupyter import JupyterServer
from .ssh_client import Visitor

WITHIN_S = 20.0


class Port:
    """A local port to the server, over one SSH connection after the other."""

    def __init__(self, visitor: Visitor, server: JupyterServer, former_key: Secret | None = None) -> None:
        self.streams = ClientStreams(former_key)
        self.front = PortForwarder(ports.bind(None))
        self.server = server
        self._visitor = visitor
        self._sessions = contextlib.ExitStack()

    def connect(self, server: JupyterServer | None = None) -> None:
        self.server = server or self.server
        session = self._sessions.enter_context(self._visitor.enter())
        upstream = SessionUpstream(session, "127.0.0.1", self.server.port, streams=self.streams)
        self.front.set_upstream(upstream, Secret(self.server.token))

    def lose(self) -> None:
        self.front.disconnect()
        self._sessions.close()

    def close(self) -> None:
        self.streams.close("the test is over")
        self.lose()
        self.front.close()

    def ask(self, path: str, method: str = "GET", body: bytes = b"") -> socket.socket:
        """A connection on which this was asked."""
        client = socket.create_connection(("127.0.0.1", self.front.port), timeout=WITHIN_S)
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {self.server.token}\r\n"
        client.sendall(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        client.sendall(body)
        return client

    def waiting(self) -> int:
        status = self.streams.status()
        assert status is not None
        return status.waiting
