"""The agent: a process that listens, serves each connection in a thread, and ends soon after the last one."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time

from .handlers import AgentConnection, Trees
from .wire import FrameSocket, FrameSocketClosed, InvalidFrame

PREFIX = "remote-runtime-files-"
HANDSHAKE_S = 15.0
GRACE_S = 60.0  # a client whose connection was lost may come back
_POLL_S = 0.5
_BACKLOG = 64
_UNIX = getattr(socket, "AF_UNIX", socket.AF_INET)  # Windows has none, and starts no agent


class Listener:
    """``address``: the path of a unix socket in a folder of mode 0700 (``is_private``), or a port of 127.0.0.1."""

    def __init__(self, *, unix: bool) -> None:
        self._folder = ""
        self.is_private = unix
        if unix:
            self._folder = os.path.join("/tmp", PREFIX + os.urandom(8).hex())  # noqa: S108  # a socket's path must be short
            os.mkdir(self._folder, 0o700)  # fails if the name is taken, also by another user's link
            self.address: str | int = os.path.join(self._folder, "socket")
        try:
            self.sock = socket.socket(_UNIX if unix else socket.AF_INET)
            self.sock.bind(os.path.join(self._folder, "socket") if unix else ("127.0.0.1", 0))
            self.sock.listen(_BACKLOG)
        except OSError:
            self.close()
            raise
        if not unix:
            self.address = int(self.sock.getsockname()[1])

    def close(self) -> None:
        if self._folder:
            with contextlib.suppress(OSError):  # the user has removed it
                os.unlink(os.path.join(self._folder, "socket"))
                os.rmdir(self._folder)


class AgentServer:
    """Serves until there was no connection for ``grace_s``, or a client asked it to stop and all have gone."""

    def __init__(self, listener: Listener, secret: bytes, grace_s: float = GRACE_S) -> None:
        self._listener = listener
        self._secret = secret
        self._grace_s = grace_s
        self._trees = Trees()
        self._lock = threading.Lock()
        self._count = 0
        self._idle_since = time.monotonic()
        self._is_stopped = False

    def serve(self) -> None:
        self._listener.sock.settimeout(_POLL_S)
        while not self._is_unused():
            try:
                sock, _ = self._listener.sock.accept()
            except OSError:  # the time has passed, or too many files are open
                continue
            sock.setblocking(True)
            with self._lock:
                self._count += 1
            threading.Thread(target=self._serve_one, args=(sock,), daemon=True).start()

    def _is_unused(self) -> bool:
        with self._lock:
            idle_s = time.monotonic() - self._idle_since
            return self._count == 0 and (self._is_stopped or idle_s > self._grace_s)

    def _serve_one(self, sock: socket.socket) -> None:
        connection = FrameSocket(sock)
        try:
            connection.set_timeout(HANDSHAKE_S)
            if self._listener.is_private:
                connection.check_secret(self._secret)
            else:
                connection.prove_as_agent(self._secret)
            connection.set_timeout(None)
            AgentConnection(connection, self._trees, self._stop).serve()
        except (FrameSocketClosed, InvalidFrame, KeyError, TypeError, ValueError):
            pass  # the client has gone, or does not keep to the protocol
        finally:
            connection.close()
            with self._lock:
                self._count -= 1
                self._idle_since = time.monotonic()

    def _stop(self) -> None:
        self._is_stopped = True


def start_detached(listener: Listener, secret: bytes) -> None:
    """Serve in a process that outlives this one and its session. This process no longer listens."""
    if sys.platform == "win32":
        raise ValueError("the caller has checked that there is `fork`")
    if os.fork():
        listener.sock.close()
        os.wait()
        return
    status = 1
    try:
        os.setsid()
        if not os.fork():
            _redirect_streams()
            os.chdir(os.path.expanduser("~"))
            with contextlib.closing(listener):
                AgentServer(listener, secret).serve()
        status = 0
    finally:
        os._exit(status)


def _redirect_streams() -> None:
    """An SSH channel stays open as long as a process has its streams."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    os.close(nothing)
    sys.stdin = sys.stdout = sys.stderr = None  # nothing is printed
