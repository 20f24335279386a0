"""The connections between a computer and the agent on the machine.

A client first sends the secret, where only this user can listen and connect; else both ends prove that they know it.
Then come frames: the lengths of header and body, the header as JSON, and the body as it is.
"""

from __future__ import annotations

import errno
import hmac
import json
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Header = dict[str, Any]
    Buffer = bytes | bytearray | memoryview
MAX_HEADER_BYTES = 64 << 20
MAX_SENDFILE_BYTES = 1 << 20
_LENGTHS = struct.Struct("!IQ")
_NONCE_BYTES = 32
_PROOF_BYTES = 32
_HAS_SENDFILE = hasattr(os, "sendfile") and sys.platform == "linux"
_WAIT_ALL = getattr(socket, "MSG_WAITALL", 0)
_LOST = (
    errno.EPIPE,
    errno.ECONNRESET,
    errno.ENOTCONN,
    errno.EBADF,
    errno.ESHUTDOWN,
    errno.ETIMEDOUT,
    errno.ECONNABORTED,
)


class FrameSocketClosed(Exception):
    """The other end is gone."""


class InvalidFrame(Exception):
    """The other end does not keep to the protocol."""


class FrameSocket:
    """A blocking connection. One thread may send while another receives. Its methods raise ``FrameSocketClosed``."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send_secret(self, secret: bytes) -> None:
        """Where nothing but the agent can listen: no round trip."""
        self._send_all(secret)

    def check_secret(self, secret: bytes) -> None:
        if not hmac.compare_digest(bytes(self.receive_body(len(secret))), secret):
            raise InvalidFrame("the client does not know the secret")

    def prove_as_client(self, secret: bytes) -> None:
        """Also raises ``InvalidFrame`` where the other end does not know the secret."""
        ours = os.urandom(_NONCE_BYTES)
        self._send_all(ours)
        theirs = bytes(self.receive_body(_NONCE_BYTES))
        proof = bytes(self.receive_body(_PROOF_BYTES))
        if not hmac.compare_digest(proof, _proof(secret, b"agent", ours, theirs)):
            raise InvalidFrame("the program that listens there does not know the secret")
        self._send_all(_proof(secret, b"client", theirs, ours))

    def prove_as_agent(self, secret: bytes) -> None:
        theirs = bytes(self.receive_body(_NONCE_BYTES))
        ours = os.urandom(_NONCE_BYTES)
        self._send_all(ours + _proof(secret, b"agent", theirs, ours))
        proof = bytes(self.receive_body(_PROOF_BYTES))
        if not hmac.compare_digest(proof, _proof(secret, b"client", ours, theirs)):
            raise InvalidFrame("the client does not know the secret")

    def send(self, header: Header, body: Buffer = b"") -> None:
        data = json.dumps(header, separators=(",", ":")).encode()
        self._send_all(_LENGTHS.pack(len(data), len(body)) + data)
        if body:
            self._send_all(body)

    def send_file(self, header: Header, descriptor: int, offset: int, length: int) -> bool:
        """Send ``length`` bytes of the open file as the body. False if it has fewer, or they can't be read: zeros
        are sent for them."""
        data = json.dumps(header, separators=(",", ":")).encode()
        self._send_all(_LENGTHS.pack(len(data), length) + data)
        end = offset + length
        while offset < end:
            sent = self._send_part(descriptor, offset, min(end - offset, MAX_SENDFILE_BYTES))
            if not sent:
                self._send_all(bytes(end - offset))
                return False
            offset += sent
        return True

    def receive(self) -> tuple[Header, int]:
        """The next header, and the length of its body, which must be received next. Raises ``InvalidFrame``."""
        header_length, body_length = _LENGTHS.unpack(self.receive_body(_LENGTHS.size))
        if header_length > MAX_HEADER_BYTES:
            raise InvalidFrame("a header is too long")
        try:
            header = json.loads(bytes(self.receive_body(header_length)).decode("ascii"))
        except (ValueError, RecursionError):
            raise InvalidFrame("a header is not JSON") from None
        if not isinstance(header, dict):
            raise InvalidFrame("a header is no object")
        return header, body_length

    def receive_body(self, length: int) -> bytearray:
        body = bytearray(length)
        self.receive_into(memoryview(body))
        return body

    def receive_into(self, view: memoryview) -> None:
        """Fill it."""
        while view:
            try:
                received = self._sock.recv_into(view, 0, _WAIT_ALL)
            except OSError as exc:
                raise FrameSocketClosed(str(exc)) from exc
            if not received:
                raise FrameSocketClosed("the connection has ended")
            view = view[received:]

    def set_timeout(self, seconds: float | None) -> None:
        self._sock.settimeout(seconds)

    def shut_down(self) -> None:
        """Wakes the threads that send or receive."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has ended

    def close(self) -> None:
        self._sock.close()

    def _send_all(self, data: Buffer) -> None:
        try:
            self._sock.sendall(data)
        except OSError as exc:
            raise FrameSocketClosed(str(exc)) from exc

    def _send_part(self, descriptor: int, offset: int, length: int) -> int:
        """How many bytes were sent; 0 if the file has no more, or it can't be read."""
        try:
            if sys.platform != "win32" and _HAS_SENDFILE:
                return os.sendfile(self._sock.fileno(), descriptor, offset, length)
            data = read_at(descriptor, offset, length)
        except OSError as exc:
            if exc.errno in _LOST:
                raise FrameSocketClosed(str(exc)) from exc
            return 0
        self._send_all(data)
        return len(data)


def read_at(descriptor: int, offset: int, length: int) -> bytes:
    """Up to ``length`` bytes. Where the system has no ``pread``, one thread at a time may use the descriptor."""
    if sys.platform != "win32":
        return os.pread(descriptor, length, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, length)


def _proof(secret: bytes, role: bytes, first: bytes, second: bytes) -> bytes:
    return hmac.new(secret, role + first + second, "sha256").digest()
