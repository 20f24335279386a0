"""The control channel between a keeper and the commands: JSON messages over ``multiprocessing.connection``.

It is a unix socket in the 0700 state directory, or a named pipe on Windows. Both ends prove that they know the key in
the 0600 file beside it. Nothing is pickled: only ``send_bytes`` and ``recv_bytes`` are used.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge
from typing import Any, cast

from ..core.deadline import Deadline
from ..core.errors import LocalError
from ..core.private_file import read_private, socket_path, write_private
from .store import StateDir, no_sockets_error, not_writable_error

Message = dict[str, Any]
MAX_MESSAGE_BYTES = 4 << 20
HANDSHAKE_TIMEOUT_S = 10.0
ANNOUNCE_TIMEOUT_S = 5.0
SEND_TIMEOUT_S = 3.0  # a command that is stopped reads nothing, and must not block the keeper


class ControlChannel:
    """One connection. Sending is safe from several threads; one thread receives."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._broken = False

    def send(self, message: Mapping[str, Any]) -> None:
        """Raises ``OSError`` if the peer is gone or does not read."""
        with self._sending:
            if self._broken:
                raise BrokenPipeError("an earlier message was sent in part")
            try:
                self._connection.send_bytes(json.dumps(message).encode())
            except OSError:
                self._broken = True
                raise

    def receive(self, timeout_s: float) -> Message | None:
        """The next message, None if none comes in time. Raises ``EOFError`` or ``OSError`` when the channel is
        closed."""
        if not self._connection.poll(timeout_s):
            return None
        message = json.loads(self._connection.recv_bytes(MAX_MESSAGE_BYTES))
        if not isinstance(message, dict):
            raise EOFError("not a message")
        return message

    def close(self) -> None:
        self._connection.close()


@contextmanager
def serve(state: StateDir, name: str, handle: Callable[[ControlChannel], None]) -> Iterator[None]:
    """Accept connections until the block ends, and call ``handle`` for each in a thread of its own.

    The caller holds the runtime's ``alive`` lock, so a socket that is already there is stale.
    Raises ``LocalError`` ``state-dir-unusable``.
    """
    key = secrets.token_bytes(32)
    try:
        write_private(state.file_path(name, "key"), key)
    except OSError as error:
        raise not_writable_error(state, error) from error
    with _address(state, name) as address:
        with suppress(OSError):
            os.unlink(address)
        try:
            listener = Listener(address, backlog=64)
        except OSError as error:
            raise no_sockets_error(state, error) from error
        stop = threading.Event()
        acceptor = threading.Thread(target=_accept, args=(listener, key, handle, stop), daemon=True, name="control")
        acceptor.start()
        try:
            yield
        finally:
            stop.set()
            _wake(address)
            acceptor.join(5)
            with suppress(FileNotFoundError):  # `remove_files` may have removed the socket
                listener.close()


@contextmanager
def connect(state: StateDir, name: str, deadline: Deadline) -> Iterator[ControlChannel]:
    """A channel to the keeper of this name.

    Raises ``ConnectionError`` or ``FileNotFoundError`` if no keeper listens (yet), and ``LocalError``
    ``keeper-unresponsive`` if it does not answer before the deadline.
    """
    key = read_private(state.file_path(name, "key"))
    try:
        with _address(state, name) as address:
            connection = _connect(address, deadline)
    except TimeoutError as error:
        raise _unresponsive_error(name) from error
    try:
        _authenticate(connection, key, name, deadline)
        yield ControlChannel(connection)
    finally:
        connection.close()


def request(state: StateDir, name: str, message: Message, timeout_s: float) -> Message:
    """Send ``message`` to the keeper; return its reply. Raises as ``connect``."""
    deadline = Deadline(timeout_s)
    with connect(state, name, deadline) as channel:
        channel.send(message)
        reply = channel.receive(deadline.remaining_s())
    if reply is None:
        raise _unresponsive_error(name)
    return reply


def uncounted_connector(name: str, state: StateDir) -> Callable[[int, float], socket.socket]:
    """A function ``connect(port, timeout_s)`` to a local port of this runtime, which its keeper does not count as a
    client: before it connects, it announces its own port on the control channel. The function raises ``OSError``."""

    def connect_uncounted(port: int, timeout_s: float) -> socket.socket:
        connection = socket.socket()
        try:
            connection.settimeout(timeout_s)
            connection.bind(("127.0.0.1", 0))
            with connect(state, name, Deadline(ANNOUNCE_TIMEOUT_S)) as channel:
                channel.send({"op": "expect", "port": connection.getsockname()[1]})
                channel.receive(ANNOUNCE_TIMEOUT_S)
            connection.connect(("127.0.0.1", port))
        except BaseException:
            connection.close()
            raise
        return connection

    return connect_uncounted


def _authenticate(connection: Connection, key: bytes, name: str, deadline: Deadline) -> None:
    limited: Any = _DeadlineConnection(connection, deadline)
    try:
        answer_challenge(limited, key)
        deliver_challenge(limited, key)
    except TimeoutError as error:
        raise _unresponsive_error(name) from error
    except AuthenticationError as error:
        raise ConnectionRefusedError("the keeper's key has just changed") from error


def _accept(listener: Listener, key: bytes, handle: Callable[[ControlChannel], None], stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            connection = listener.accept()
        except OSError:
            # The next connection may succeed; `stop` ends the loop.
            stop.wait(0.05)
            continue
        if stop.is_set():
            connection.close()
            return
        threading.Thread(target=_serve, args=(connection, key, handle), daemon=True, name="control-client").start()


def _serve(connection: Any, key: bytes, handle: Callable[[ControlChannel], None]) -> None:
    try:
        _set_send_timeout(connection)
        limited: Any = _DeadlineConnection(connection, Deadline(HANDSHAKE_TIMEOUT_S))
        deliver_challenge(limited, key)
        answer_challenge(limited, key)
        handle(ControlChannel(connection))
    except (OSError, EOFError, AuthenticationError, ValueError, RecursionError):
        return  # the client is gone, or does not know the key
    finally:
        connection.close()


def _wake(address: str) -> None:
    """`accept` cannot be interrupted portably, so connect to it."""
    try:
        Client(address).close()
    except OSError:
        return  # it has ended already


class _DeadlineConnection:
    """The methods that the handshake calls, with a deadline."""

    def __init__(self, connection: Connection, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self.send_bytes = connection.send_bytes

    def recv_bytes(self, max_bytes: int) -> bytes:
        while not self._connection.poll(min(0.2, self._deadline.remaining_s())):
            self._deadline.check()
            if self._deadline.passed():
                raise TimeoutError
        return self._connection.recv_bytes(max_bytes)


def _unresponsive_error(name: str) -> LocalError:
    return LocalError(
        "keeper-unresponsive",
        f"The background process of {name} does not respond",
        "it may be suspended, or the computer overloaded",
        "Run `remote-runtime down PROFILE --force` to end it",
    )


if sys.platform == "win32":

    @contextmanager
    def _address(state: StateDir, name: str) -> Iterator[str]:
        import hashlib

        digest = hashlib.sha256(str(state.path).lower().encode()).hexdigest()[:12]
        yield rf"\\.\pipe\remote-runtime-{digest}-{name}"

    def _connect(address: str, deadline: Deadline) -> Connection:
        return cast("Connection", Client(address))

    def _set_send_timeout(connection: Connection) -> None:
        """Windows has none for pipes."""
else:

    @contextmanager
    def _address(state: StateDir, name: str) -> Iterator[str]:
        with ExitStack() as stack:
            try:
                address = stack.enter_context(socket_path(state.file_path(name, "sock")))
            except OSError as error:
                raise LocalError(
                    "state-dir-unusable",
                    f"The path of the state directory is too long: {state.path}",
                    error.strerror or str(error),
                    "Set REMOTE_RUNTIME_STATE_DIR to a shorter path",
                ) from error
            yield address

    def _connect(address: str, deadline: Deadline) -> Connection:
        """Raises ``TimeoutError`` if the listener's backlog stays full until the deadline."""
        with socket.socket(socket.AF_UNIX) as connecting:
            connecting.setblocking(False)
            while True:
                try:
                    connecting.connect(address)
                    break
                except BlockingIOError:
                    if deadline.passed():
                        raise TimeoutError from None
                    deadline.sleep(0.05)
            connecting.setblocking(True)
            return Connection(connecting.detach())

    def _set_send_timeout(connection: Connection) -> None:
        with socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
            duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(SEND_TIMEOUT_S), 0))
