"""Ends a connection without losing what was said last.

tornado closes a WebSocket that breaks its limits while the client is still sending. A close with unread data resets the
connection, and a reset takes the close code and earlier answers with it. RFC 9112, 9.6 tells the remedy: end our
direction, read on for a while, close then.
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
    """A second handle on the connection, which the stream's own close leaves open. None with TLS: it has one owner."""
    if stream is None or stream.socket is None or isinstance(stream.socket, ssl.SSLSocket):
        return None
    return stream.socket.dup()


def lingering_close(sock: socket.socket) -> None:
    """Called when the stream is closed: returns at once, closes the connection when the client has ended its side."""
    try:
        sock.setblocking(False)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        # Reset by the client: nobody is there to hear more.
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
