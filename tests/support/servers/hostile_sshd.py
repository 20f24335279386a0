"""An SSH server that lets us in, runs any command as `true`, and else says what a test wants: paramiko's, undone."""

from __future__ import annotations

import getpass
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paramiko

from .sshd import make_key

COMMAND, PEER = 6, 7  # our numbers for the channel of a command, and for the others
Answer = Callable[["HostileServer", int, bytes], None]


class HostileServer:
    """``answer`` is called with the other channel messages (kinds from 90) of the client; ``say`` sends any payload."""

    address = "127.0.0.1"

    def __init__(self, directory: Path, answer: Answer, *, ciphers: tuple[str, ...] = ()) -> None:
        directory.mkdir(exist_ok=True)
        self.user = getpass.getuser()
        self.key_path = directory / "client_key"
        for name in ("host_key", "client_key"):
            make_key(directory / name)
        self._host_key = paramiko.Ed25519Key.from_private_key_file(str(directory / "host_key"))
        self._answer = answer
        self._ciphers = ciphers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.said: list[int] = []
        self._transports: list[Any] = []
        self._command = 0
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def say(self, payload: bytes) -> None:
        message = paramiko.Message()
        message.add_bytes(payload)
        self._transports[-1]._send_message(message)

    def die(self) -> None:
        """After what was said, without a word. What the client still says is read: else its system would be told to
        forget what was said."""
        self._transports[-1].sock.shutdown(socket.SHUT_WR)

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
            transport: Any = paramiko.Transport(sock)
            transport._handler_table.update({kind: self._taking(kind) for kind in range(90, 101)})
            transport._preferred_ciphers = self._ciphers or transport._preferred_ciphers
            transport.add_server_key(self._host_key)
            self._transports.append(transport)
            transport.start_server(event=threading.Event(), server=_Everybody())

    def _taking(self, kind: int) -> Callable[[paramiko.Message], None]:
        return lambda message: self._take(kind, message.asbytes())

    def _take(self, kind: int, payload: bytes) -> None:
        self.said.append(kind)
        if kind == 90 and payload[4:11] == b"session":
            number, accepted = open_confirmation(payload, peer=COMMAND)
            self._command = number
            self.say(accepted)
        elif kind != 90 and payload[:4] == struct.pack(">I", COMMAND):
            self._run_true(kind)
        else:
            self._answer(self, kind, payload)

    def _run_true(self, kind: int) -> None:
        """Whatever is run ends well."""
        if kind == 98:
            number = struct.pack(">I", self._command)
            status = b"\0\0\0\x0bexit-status\0\0\0\0\0"
            for message in (b"\x63" + number, b"\x62" + number + status, b"\x60" + number, b"\x61" + number):
                self.say(message)


class _Everybody(paramiko.ServerInterface):
    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return int(paramiko.common.AUTH_SUCCESSFUL)


def open_confirmation(
    payload: bytes, *, peer: int = PEER, window: int = 1 << 20, piece: int = 1 << 15
) -> tuple[int, bytes]:
    """Of the client's SSH_MSG_CHANNEL_OPEN (without its kind): the client's number, and the message that accepts."""
    size = struct.unpack(">I", payload[:4])[0]
    number: int = struct.unpack(">I", payload[4 + size : 8 + size])[0]
    return number, struct.pack(">BIIII", 91, number, peer, window, piece)
