"""SSH servers other than OpenSSH's, each on a loopback port of its own, with one key that it accepts."""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import selectors
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko

from ..environment.mounts import within_mount
from ..environment.waiting import eventually, free_port
from .sshd import make_key

CLOSES = ("with EOF", "without EOF")


class Server:
    """What ``ssh_client.Visitor`` needs of a server."""

    address = "127.0.0.1"

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.user = getpass.getuser()
        self.key_path = directory / "client_key"
        self.port = 0
        for name in ("host_key", "client_key"):
            make_key(directory / name)


@contextlib.contextmanager
def running_paramiko(directory: Path, *, cipher: str, end_of_data: bool = True) -> Iterator[Server]:
    """``end_of_data``: whether an EOF comes before its CLOSE; Twisted Conch's says none."""
    server = Server(directory)
    key = paramiko.Ed25519Key.from_private_key_file(str(directory / "host_key"))
    transports: list[Any] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                transport: Any = paramiko.Transport(sock)
                transport._preferred_ciphers = (cipher,)
                transport.add_server_key(key)
                transports.append(transport)
                transport.start_server(event=threading.Event(), server=_Forwarding(transport, end_of_data=end_of_data))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.port = listener.getsockname()[1]
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for transport in transports:
                transport.close()
                transport.join(10)


class _Forwarding(paramiko.ServerInterface):
    def __init__(self, transport: Any, *, end_of_data: bool) -> None:
        self._transport = transport
        self._end_of_data = end_of_data

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return int(paramiko.common.AUTH_SUCCESSFUL)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return 0

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        def end() -> None:
            channel.send_exit_status(0)
            channel.close()

        threading.Timer(0.05, end).start()  # after the answer that it was begun
        return True

    def check_channel_direct_tcpip_request(self, chanid: int, origin: Any, destination: tuple[str, int]) -> int:
        try:
            target = socket.create_connection(destination, timeout=20)
        except OSError:
            return int(paramiko.common.OPEN_FAILED_CONNECT_FAILED)
        threading.Thread(target=self._carry, args=(chanid, target), daemon=True).start()
        return 0

    def _carry(self, number: int, target: socket.socket) -> None:
        eventually(lambda: self._transport._channels.get(number))
        channel = self._transport._channels.get(number)
        with target, selectors.DefaultSelector() as selector, contextlib.suppress(OSError, EOFError):
            selector.register(channel, selectors.EVENT_READ)
            selector.register(target, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is target:
                        said = target.recv(1 << 15)
                        if not said:
                            return self._close(channel)
                        channel.sendall(said)
                    else:
                        heard = channel.recv(1 << 15)
                        if heard:
                            target.sendall(heard)
                        else:
                            target.shutdown(socket.SHUT_WR)
                            selector.unregister(channel)
        return self._close(channel)

    def _close(self, channel: Any) -> None:
        channel.eof_sent = channel.eof_sent or not self._end_of_data
        channel.close()


@contextlib.contextmanager
def running_dropbear(directory: Path) -> Iterator[Server]:
    """It reads the keys that it accepts in the home of the account: another folder lies there for it alone."""
    server = Server(directory)
    server.port = free_port()
    home = directory / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    keys = home / ".ssh" / "authorized_keys"
    keys.write_text(server.key_path.with_suffix(".pub").read_text())
    for path in (home, keys.parent, keys):
        path.chmod(0o700)
    host_key = directory / "dropbear_key"
    subprocess.run(["dropbearkey", "-t", "ed25519", "-f", str(host_key)], check=True, capture_output=True)
    there = pwd.getpwuid(os.getuid()).pw_dir
    command = [
        "dropbear",
        "-F",
        "-E",
        "-s",
        "-r",
        str(host_key),
        "-P",
        str(directory / "pid"),
        "-p",
        f"127.0.0.1:{server.port}",
    ]
    with subprocess.Popen([*within_mount(f"--bind {home} {there}"), *command], stderr=subprocess.PIPE) as process:
        try:
            eventually(lambda: _listens(server.port))
            yield server
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
