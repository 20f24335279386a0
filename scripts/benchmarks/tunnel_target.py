"""What the tunnels lead to, a process for each kind so that none waits for another: ``python -m … KIND``.

The first line on stdout is the port. ``pour`` sends as many bytes as the client's first 8 bytes say, ``drain`` reads as
many and answers one byte, ``echo`` repeats, ``http`` answers each request with 1 KB and closes.
"""

from __future__ import annotations

import selectors
import socket
import struct
import sys
import threading
from collections.abc import Callable

PIECE = bytes(1 << 20)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\nConnection: close\r\n\r\n" + bytes(1024)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    if sys.argv[1] == "http":
        serve_http(listener)
    handle = {"pour": pour, "drain": drain, "echo": echo}[sys.argv[1]]
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=quietly, args=(handle, connection), daemon=True).start()


def quietly(handle: Callable[[socket.socket], None], connection: socket.socket) -> None:
    try:
        with connection:
            handle(connection)
    except (OSError, struct.error):
        return  # the client had enough, or wanted nothing


def pour(connection: socket.socket) -> None:
    left = struct.unpack(">Q", connection.recv(8, socket.MSG_WAITALL))[0]
    while left:
        left -= connection.send(PIECE[:left] if left < len(PIECE) else PIECE)


def drain(connection: socket.socket) -> None:
    left = struct.unpack(">Q", connection.recv(8, socket.MSG_WAITALL))[0]
    buffer = bytearray(1 << 20)
    while left:
        left -= connection.recv_into(buffer)
    connection.sendall(b"!")


def echo(connection: socket.socket) -> None:
    while data := connection.recv(1 << 16):
        connection.sendall(data)


def serve_http(listener: socket.socket) -> None:
    listener.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    accept_all(listener, selector)
                elif isinstance(key.fileobj, socket.socket):
                    answer(key.fileobj, selector)


def accept_all(listener: socket.socket, selector: selectors.BaseSelector) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ)


def answer(connection: socket.socket, selector: selectors.BaseSelector) -> None:
    selector.unregister(connection)
    try:
        if connection.recv(1 << 16):
            connection.sendall(ANSWER)
    except OSError:
        pass  # the client had enough
    connection.close()


if __name__ == "__main__":
    main()
