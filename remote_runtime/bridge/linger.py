"""Closes a connection without losing the data sent last.

tornado closes a WebSocket that exceeds its limits while the client is still sending. A close with unread data resets
the connection, and the close code and earlier answers are lost. RFC 9112, 9.6 has the remedy: shut our direction down,
read for a while, then close.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any, Optional

from tornado.ioloop import IOLoop
from tornado.iostream import IOStream

_DRAIN_TIMEOUT_S = 5.0
_READ_BYTES = 256 * 1024


def dup_socket(stream: Optional[IOStream]) -> Optional[socket.socket]:
    """A duplicate of the stream's socket, which stays open when the stream is closed. None with TLS."""
    if stream is None or stream.socket is None or isinstance(stream.socket, ssl.SSLSocket):
        return None
    return stream.socket.dup()


def lingering_close(sock: socket.socket) -> None:
    """To be called when the stream is closed. Returns at once; closes the socket when the client has closed its end."""
    try:
        sock.setblocking(False)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        # Reset by the client.
        sock.close()
        return
    loop = IOLoop.current()

    def end() -> None:
        if sock.fileno() >= 0:
            loop.remove_timeout(deadline)
            loop.remove_handler(sock)
            sock.close()

    def read(*_: Any) -> None:
        try:
            if not sock.recv(_READ_BYTES):
                end()
        except BlockingIOError:
            return
        except OSError:
            end()

    deadline = loop.call_later(_DRAIN_TIMEOUT_S, end)
    loop.add_handler(sock, read, IOLoop.READ)
