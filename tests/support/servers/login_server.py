"""An SSH server whose logins go as a test says: paramiko's, with a ``paramiko.ServerInterface`` for each connection."""

from __future__ import annotations

import contextlib
import getpass
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import paramiko

from .sshd import make_key


class LoginServer:
    """``version``: of its software, such as ``OpenSSH_9.9``. ``refuses``: is asked at each connection for text that is
    said in place of a greeting.
    ``ciphers``: all that it offers, if any are given."""

    address = "127.0.0.1"

    def __init__(
        self,
        directory: Path,
        judge: Callable[[], paramiko.ServerInterface],
        version: str = "",
        refuses: Callable[[], bytes] = bytes,
        ciphers: Sequence[str] = (),
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.user = getpass.getuser()
        self.key_path = directory / "client_key"
        for name in ("host_key", "client_key"):
            make_key(directory / name)
        self._host_key = paramiko.Ed25519Key.from_private_key_file(str(directory / "host_key"))
        self._judge = judge
        self._version = version
        self._refuses = refuses
        self._ciphers = ciphers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._transports: list[Any] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for transport in self._transports:
            transport.close()
            transport.join(10)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            words = self._refuses()
            if words:
                with sock:
                    sock.sendall(words)
                continue
            transport: Any = paramiko.Transport(sock)
            if self._version:
                transport.local_version = f"SSH-2.0-{self._version}"
            if self._ciphers:
                transport.get_security_options().ciphers = self._ciphers
            transport.add_server_key(self._host_key)
            self._transports.append(transport)
            transport.start_server(event=threading.Event(), server=self._judge())


@contextlib.contextmanager
def login_server(
    directory: Path,
    judge: Callable[[], paramiko.ServerInterface],
    version: str = "",
    refuses: Callable[[], bytes] = bytes,
    ciphers: Sequence[str] = (),
) -> Iterator[LoginServer]:
    server = LoginServer(directory, judge, version, refuses, ciphers)
    try:
        yield server
    finally:
        server.stop()
