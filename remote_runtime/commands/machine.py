"""A connection to a profile's machine for the commands that use it: the keeper's if there is one, else their own."""

from __future__ import annotations

import base64
import contextlib
import functools
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from ..core.callbacks import CommandResult, RunCommand
from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, LocalError, from_dict
from ..core.profile import Profile
from ..state import ipc, store
from ..tunnel.single_connection import open_socket
from .context import CommandContext

if TYPE_CHECKING:
    from ..targets import TargetSession

CONNECT_TIMEOUT_S = 15.0
KEEPER_TIMEOUT_S = 10.0
POLL_S = 0.1
IDLE_POLL_S = 0.5


class Machine(Protocol):
    """``is_shared``: the connection is the keeper's, which stays open."""

    is_shared: bool

    @property
    def run(self) -> RunCommand: ...

    def connect(self, host: str, port: int, *, within_s: float = CONNECT_TIMEOUT_S) -> socket.socket:
        """A blocking socket that is connected to ``host``:``port`` of the machine; with port 0, to the unix socket
        whose path is ``host``. For any thread. Raises ``HealthError``, ``SshError``, ``LocalError``,
        ``DeadlinePassed``."""


@contextlib.contextmanager
def open_machine(profile: Profile, context: CommandContext) -> Iterator[Machine]:
    """The keeper's connection if the runtime is ready, else a connection of its own, which is made as `up`
    makes it and closed at the end. Raises ``RemoteRuntimeError``."""
    if is_ready(profile.name, context.state):
        yield KeeperMachine(context.state, profile.name)
        return
    from .ssh import connect

    session = connect(profile, context)
    try:
        yield SessionMachine(session)
    finally:
        session.close()


def is_ready(name: str, state: store.StateDir) -> bool:
    """Whether the keeper of ``name`` runs and was ready when it wrote its state."""
    if not store.is_alive(state, name):
        return False
    runtime = store.load_if_readable(state, name)
    return runtime is not None and runtime.state == "ready"


class SessionMachine:
    """A session of this process."""

    is_shared = False

    def __init__(self, session: TargetSession) -> None:
        self.run = session.run
        self._session = session

    def connect(self, host: str, port: int, *, within_s: float = CONNECT_TIMEOUT_S) -> socket.socket:
        return open_socket(self._session.forward_socket, host, port, within_s=within_s)


class KeeperMachine:
    """The session of the keeper of the runtime ``name``."""

    is_shared = True

    def __init__(self, state: store.StateDir, name: str) -> None:
        self._open_channel = functools.partial(_open_channel, state, name)

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes,
        on_line: Callable[[str], bool | None],
        deadline: Deadline,
        reply: Callable[[], bytes | None] | None = None,
    ) -> CommandResult:
        """``callbacks.RunCommand``."""
        with self._open_channel(deadline.within(KEEPER_TIMEOUT_S)) as channel:
            request = {
                "op": "run",
                "argv": list(command),
                "stdin": base64.b64encode(stdin).decode(),
                "within_s": deadline.remaining_s(),
                "interactive": reply is not None,
            }
            channel.send(request)
            is_open = reply is not None
            while True:
                if reply is not None and is_open:
                    data = reply()
                    is_open = data is not None
                    if data is None or data:
                        channel.send({"op": "input", "data": base64.b64encode(data).decode() if data else None})
                message = channel.receive(POLL_S if is_open else IDLE_POLL_S)
                deadline.check()
                if message is None:
                    if deadline.passed():
                        what = f"{command[0]} on the machine took more than {deadline.timeout_s:.0f} s"
                        raise DeadlinePassed(what)
                elif message["event"] == "exited":
                    return CommandResult(message["status"], message["stderr"], message["forced"])
                elif on_line(message["text"]):
                    channel.send({"op": "done"})
                    return CommandResult(None)

    def connect(self, host: str, port: int, *, within_s: float = CONNECT_TIMEOUT_S) -> socket.socket:
        with self._open_channel(Deadline(KEEPER_TIMEOUT_S)) as channel:
            channel.send({"op": "connect", "host": host, "port": port, "within_s": within_s})
            return _take_connection(channel, within_s)

    def connect_ssh(self, *, key_within_s: float, within_s: float = CONNECT_TIMEOUT_S) -> tuple[socket.socket, str]:
        """A connection to the SSH server through which the keeper has logged in, and its host key (``TYPE BASE64``). A
        key of this computer that has expired there is renewed, which may take ``key_within_s``. Raises as ``connect``,
        ``LocalError`` ``not-up`` where it is not known where that server is, and ``CloudError``."""
        with self._open_channel(Deadline(KEEPER_TIMEOUT_S)) as channel:
            channel.send({"op": "connect-ssh", "within_s": within_s})
            server = channel.require(key_within_s + KEEPER_TIMEOUT_S)
            return _take_connection(channel, within_s), server["host_key"]


def _take_connection(channel: _KeeperChannel, within_s: float) -> socket.socket:
    """The connection that the keeper announces next."""
    listening = channel.require(KEEPER_TIMEOUT_S)
    connection = socket.socket()
    try:
        connection.settimeout(KEEPER_TIMEOUT_S)
        connection.connect(("127.0.0.1", listening["port"]))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(listening["secret"].encode())
        channel.require(within_s + KEEPER_TIMEOUT_S)
    except BaseException:
        connection.close()
        raise
    connection.settimeout(None)
    return connection


class _KeeperChannel:
    """A control channel. Its methods raise ``LocalError`` ``keeper-died`` when the keeper has ended."""

    def __init__(self, name: str, channel: ipc.ControlChannel) -> None:
        self._name = name
        self._channel = channel

    def send(self, message: ipc.Message) -> None:
        try:
            self._channel.send(message)
        except OSError as error:
            raise _keeper_died(self._name) from error

    def receive(self, timeout_s: float) -> ipc.Message | None:
        try:
            message = self._channel.receive(timeout_s)
        except (EOFError, OSError) as error:
            raise _keeper_died(self._name) from error
        if message is not None and message["event"] == "failed":
            raise from_dict(message["error"])
        return message

    def require(self, timeout_s: float) -> ipc.Message:
        """The next message. Raises ``LocalError`` ``keeper-unresponsive`` if none comes in time."""
        message = self.receive(timeout_s)
        if message is None:
            what = f"The background process of {self._name} does not respond"
            raise LocalError("keeper-unresponsive", what, f"no reply within {timeout_s:.0f} s")
        return message


@contextlib.contextmanager
def _open_channel(state: store.StateDir, name: str, deadline: Deadline) -> Iterator[_KeeperChannel]:
    with contextlib.ExitStack() as stack:
        try:
            channel = stack.enter_context(ipc.connect(state, name, deadline))
        except OSError as error:
            raise _keeper_died(name) from error
        yield _KeeperChannel(name, channel)


def _keeper_died(name: str) -> LocalError:
    return LocalError("keeper-died", f"The background process of {name} has ended")
