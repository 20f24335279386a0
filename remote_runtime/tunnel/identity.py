"""The identity check: the server authenticates with the token before anything else is sent to it.

The bridge answers ``GET /api/remote-runtime/identity?nonce=N`` without authentication with
``{"hmac": HMAC-SHA256(token, "remote-runtime-identity:" + N)}``; with ``at`` in the query, ``@`` and the address and
port where the connection arrived are appended to the message. The connection stays open (HTTP/1.1), so everything sent
on it afterwards reaches the process that has proved its identity.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import selectors
from typing import NamedTuple, Protocol

from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, HealthError, RemoteRuntimeError, SshError, from_code
from ..core.model import Secret
from ..core.sanitize import clean

MAX_ANSWER_BYTES = 16 << 10
# Codes that this program's local end sends. Not ``interrupted``: an unknown process must not be able to send that.
LOCAL_CODES = {*SshError.codes, *HealthError.codes, *DeadlinePassed.codes}


class Stream(Protocol):
    """A connection to the machine, used by one thread. ``recv`` and ``send`` do not block: they raise
    ``BlockingIOError``. ``fileno`` is readable when ``recv`` has data; ``writable`` is the descriptor and the event of
    ``selectors`` to wait for until ``send`` accepts data again."""

    @property
    def closed(self) -> bool:
        """Whether the other end accepts no more data, as far as is known."""

    def fileno(self) -> int: ...
    def recv(self, size: int) -> bytes: ...
    def send(self, data: bytes) -> int: ...
    def writable(self) -> tuple[int, int]: ...
    def shutdown_write(self) -> None: ...
    def close(self) -> None: ...


class ServerIdentity(NamedTuple):
    """What a connection must prove before anything else is sent on it: that its other end knows ``token``; ``address``
    as in ``IdentityCheck``."""

    token: Secret
    address: str = ""

    def new_check(self) -> IdentityCheck:
        """The check of one connection."""
        return IdentityCheck(self.token, self.address)


class IdentityCheck:
    """Checks that the other end of a connection knows the token: send ``request``, feed the answer. ``address``:
    ``ADDRESS:PORT`` where the server itself must listen; the answer of a server elsewhere, relayed by another program
    that listens there, is then refused."""

    def __init__(self, token: Secret, address: str = "") -> None:
        path, self._expected = challenge(token, address)
        self.request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        self._received = b""

    def feed(self, data: bytes) -> bool:
        """Whether the check has passed; the connection is then ready for a request.

        Raises ``HealthError`` ``stranger-answered``, and the error that this program's local end sends when it cannot
        forward (``relay.send_error``).
        """
        self._received += data
        answer = _parse(self._received)
        if answer is None:
            return False
        status, reason, body = answer
        if status == 502 and reason in LOCAL_CODES:
            raise _local_end_error(reason, body)
        try:
            said = json.loads(body)["hmac"] if status == 200 else None
        except (ValueError, KeyError, TypeError, RecursionError):
            said = None
        if not is_proof(said, self._expected):
            raise _stranger_error(f"it sent status {status} without a proof of the token")
        return True

    def eof_error(self) -> HealthError:
        """The error if the connection ended before the answer was complete."""
        why = f"after {len(self._received)} bytes of its response"
        return HealthError("not-answering", "Jupyter closed the connection", why)


def challenge(token: Secret, address: str = "", path: str = "/api/remote-runtime/identity") -> tuple[str, str]:
    """``path`` with a new nonce, and the proof the response must have; ``address`` as in ``IdentityCheck``."""
    nonce = secrets.token_hex(32)
    path = f"{path}?nonce={nonce}" + (f"&at={address}" if address else "")
    message = f"remote-runtime-identity:{nonce}{'@' if address else ''}{address}".encode()
    return path, hmac.new(token.reveal().encode(), message, hashlib.sha256).hexdigest()


def is_proof(value: object, expected: str) -> bool:
    """Compares in constant time; ``value`` comes from the other end."""
    return isinstance(value, str) and hmac.compare_digest(value.encode(errors="replace"), expected.encode())


def verify_identity(stream: Stream, token: Secret, deadline: Deadline, address: str = "") -> None:
    """Returns when the check has passed; ``stream`` is then ready for a request.

    Raises the errors of ``IdentityCheck.feed``, and ``HealthError`` ``not-answering`` after the deadline.
    """
    check = IdentityCheck(token, address)
    unsent, has_passed = check.request, False
    while not has_passed:
        try:
            if unsent:
                unsent = unsent[stream.send(unsent) :]
                continue
            received = stream.recv(4096)
        except BlockingIOError:
            _wait(deadline, *(stream.writable() if unsent else (stream.fileno(), selectors.EVENT_READ)))
            continue
        except OSError as error:
            raise HealthError("not-answering", "The connection to Jupyter broke", str(error)) from error
        if not received:
            raise check.eof_error()
        has_passed = check.feed(received)


def _wait(deadline: Deadline, descriptor: int, event: int) -> None:
    if deadline.passed():
        why = "no response within the limit"
        raise HealthError("not-answering", "Jupyter accepts connections but does not respond", why)
    deadline.check()
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, event)
        selector.select(min(0.5, deadline.remaining_s()))


def _parse(received: bytes) -> tuple[int, str, bytes] | None:
    """Status, reason and body of the answer, None while it is incomplete."""
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        if len(received) > MAX_ANSWER_BYTES or not received.startswith(b"HTTP/1.1 "[: len(received)]):
            raise _stranger_error("its response is not HTTP")
        return None
    lines = head.split(b"\r\n")
    lengths = [line[15:].strip() for line in lines[1:] if line[:15].lower() == b"content-length:"]
    status = lines[0][9:12]
    if (
        not status.isdigit()
        or len(lengths) != 1
        or not lengths[0].isdigit()
        or len(lengths[0]) > len(str(MAX_ANSWER_BYTES))
    ):
        raise _stranger_error("its response has an invalid status or length")
    length = int(lengths[0])
    if length > MAX_ANSWER_BYTES:
        raise _stranger_error("its response is longer than a proof")
    if len(body) > length:
        raise _stranger_error("it sent more bytes than announced")
    reason = lines[0][13:].decode("ascii", "replace")
    return (int(status), reason, body) if len(body) == length else None


def _local_end_error(code: str, body: bytes) -> RemoteRuntimeError:
    what, why, hint, *_ = [*clean(body.decode(errors="replace"), 2000).split("\n"), "", "", ""]
    return from_code(code, what, why, hint)


def _stranger_error(why: str) -> HealthError:
    return HealthError("stranger-answered", "An unknown process is listening on Jupyter's port", why)
