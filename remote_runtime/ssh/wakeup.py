"""A descriptor that is readable while there is something to read, for ``select``; safe from any thread, closed or not.

paramiko's own (``paramiko.pipe``) can be closed while its other thread writes to it: that thread gets EPIPE or EBADF,
which ends the whole connection, or writes to whatever has got the number of the descriptor meanwhile.
"""

from __future__ import annotations

import socket
import threading


class WakeupPipe:
    """The interface is that of ``paramiko.pipe``."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._lock = threading.Lock()
        self._set = self._forever = self._closed = False

    def fileno(self) -> int:
        return self._receiver.fileno()

    def set(self) -> None:
        with self._lock:
            if not (self._set or self._closed):
                self._set = True
                self._sender.send(b"*")

    def set_forever(self) -> None:
        self._forever = True
        self.set()

    def clear(self) -> None:
        with self._lock:
            if self._set and not (self._forever or self._closed):
                self._receiver.recv(1)
                self._set = False

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._receiver.close()
            self._sender.close()
