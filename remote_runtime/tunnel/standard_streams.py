"""A socket on stdin and stdout, as a ProxyCommand of ssh_config(5) needs it."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading

_CHUNK_BYTES = 1 << 18
_PIPE_BYTES = 1 << 20
_LAST_BYTES_TIMEOUT_S = 5.0


def relay_standard_streams(sock: socket.socket, stdin: int = 0, stdout: int = 1) -> None:
    """Copy stdin to the blocking ``sock`` and what it receives to stdout. Returns when ``sock`` has ended, when the
    reader of stdout has, or 5 s after the end of stdin. A thread may stay that waits for stdin."""
    for descriptor in (stdin, stdout):
        _prepare(descriptor)
    done = threading.Event()
    arguments = (sock, stdin, done)
    threading.Thread(target=_copy_input, args=arguments, daemon=True, name="stdin").start()
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    try:
        with contextlib.suppress(OSError):  # a reset connection has ended, and so has a pipe without a reader
            while size := sock.recv_into(buffer):
                _write(stdout, buffer[:size])
    finally:
        done.set()


def _copy_input(sock: socket.socket, stdin: int, done: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := os.read(stdin, _CHUNK_BYTES):
            sock.sendall(data)
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
    if not done.wait(_LAST_BYTES_TIMEOUT_S):
        with contextlib.suppress(OSError):  # wakes the other thread
            sock.shutdown(socket.SHUT_RDWR)


def _write(stdout: int, data: memoryview) -> None:
    while data:
        data = data[os.write(stdout, data) :]


def _prepare(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(descriptor, os.O_BINARY)  # else line ends are converted
    elif sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError, AttributeError):  # it is no pipe, or the limit of this user; Python < 3.10
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
