"""The agent on the machine: starts it, connects to it, and starts it again where it has ended."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from ..core.callbacks import Progress, RunCommand
from ..core.deadline import Deadline
from ..core.errors import HealthError, LocalError, MachineError, RemoteRuntimeError, SshError
from ..core.fast_dataclass import fast_dataclass
from ..core.sanitize import clean_line
from ..core.secret import Secret
from ..launcher.call import call_launcher, invalid_reply
from .remote.wire import FrameSocket, FrameSocketClosed, InvalidFrame

CONNECT_TIMEOUT_S = 20.0
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 3.0
RETRY_INTERVAL_S = 1.0
RECONNECT_S = 600.0
MAX_WHY_CHARS = 300
FORWARDING_HINT = "In sshd_config there, set `AllowTcpForwarding yes` or `AllowStreamLocalForwarding yes`"


class AgentMachine(Protocol):
    """``commands.machine.Machine``: runs commands on the machine and connects to its sockets and ports."""

    is_shared: bool

    @property
    def run(self) -> RunCommand: ...
    def connect(self, host: str, port: int, *, within_s: float = ...) -> socket.socket: ...


@fast_dataclass(frozen=True)
class AgentAddress:
    """``host`` with port 0: a unix socket."""

    host: str
    port: int
    secret: Secret


class Agent:
    """``call``, ``stream`` and ``connect`` are for any thread. They wait while a runtime reconnects, at most
    ``RECONNECT_S``, and raise ``RemoteRuntimeError``."""

    def __init__(self, machine: AgentMachine, python: str, progress: Progress, deadline: Deadline) -> None:
        self._machine = machine
        self._python = python
        self._progress = progress
        self._deadline = deadline
        self._address: AgentAddress | None = None
        self._start_lock = threading.Lock()
        self._control: FrameSocket | None = None
        self._control_lock = threading.Lock()
        self._unix = True
        self._checked: FrameSocket | None = None  # what checked an address is used
        self._prepared: list[queue.SimpleQueue[FrameSocket | RemoteRuntimeError]] = []
        self._is_closed = False

    def call(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of a handler that returns one dict. Raises ``MachineError`` ``file-request-failed``."""
        answers = list(self.stream(request))
        if len(answers) != 1:
            raise invalid_reply("expected one answer")
        return answers[0]

    def stream(self, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """What a handler yields. The request is sent again where the connection was lost before the first answer."""
        with self._control_lock:
            for attempt in (1, 2):
                has_begun = False
                try:
                    if self._control is None:
                        self._control = self._connect()
                    self._control.send(dict(request))
                    for answer in _answers(self._control):
                        has_begun = True
                        yield answer
                except FrameSocketClosed as error:
                    self._close_control()
                    if has_begun or attempt == 2:
                        raise lost_error(str(error)) from error
                except BaseException:
                    self._close_control()  # the rest of the answer has not been read
                    raise
                else:
                    return

    def connect(self) -> FrameSocket:
        """A new connection for data."""
        with contextlib.suppress(IndexError, queue.Empty):
            prepared = self._prepared.pop().get(timeout=CONNECT_TIMEOUT_S)
            if isinstance(prepared, FrameSocket):
                return prepared
        return self._connect()

    def prepare(self, count: int) -> None:
        """Open so many connections in the background, which ``connect`` returns."""
        for _ in range(count):
            opened: queue.SimpleQueue[FrameSocket | RemoteRuntimeError] = queue.SimpleQueue()
            self._prepared.append(opened)
            threading.Thread(target=self._prepare, args=(opened,), daemon=True, name="files-connect").start()

    def _prepare(self, opened: queue.SimpleQueue[FrameSocket | RemoteRuntimeError]) -> None:
        try:
            connection = self._connect()
        except RemoteRuntimeError as error:
            opened.put(error)
            return
        if self._is_closed:
            connection.close()
        opened.put(connection)

    def _connect(self) -> FrameSocket:
        deadline = self._deadline.within(RECONNECT_S)
        while True:
            deadline.check()
            address = self._address or self._start(None)
            try:
                return self._take_checked() or self._connect_to(address)
            except RemoteRuntimeError as error:
                if self._is_closed or not self._can_retry(error) or deadline.passed():
                    raise
                if isinstance(error, HealthError):
                    self._start(address)
                else:
                    self._progress("Waiting until the runtime has reconnected")
                    deadline.sleep(RETRY_INTERVAL_S)

    def start(self) -> None:
        """Start it, and open the connection of ``call``."""
        with self._control_lock:
            self._control = self._connect()

    def close(self) -> None:
        """The agent ends when the data connections are closed too."""
        self._is_closed = True
        for opened in self._prepared:
            with contextlib.suppress(queue.Empty):  # its thread closes it
                prepared = opened.get_nowait()
                if isinstance(prepared, FrameSocket):
                    prepared.close()
        if self._control is not None and self._control_lock.acquire(timeout=STOP_TIMEOUT_S):
            with contextlib.suppress(FrameSocketClosed, InvalidFrame, OSError):  # it ends by itself after a while
                self._control.set_timeout(STOP_TIMEOUT_S)
                self._control.send({"do": "stop"})
                self._control.receive()
            self._close_control()
            self._control_lock.release()

    def _close_control(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None

    def _can_retry(self, error: RemoteRuntimeError) -> bool:
        """The agent has ended, or the keeper reconnects."""
        return isinstance(error, HealthError) or (
            self._machine.is_shared and error.code in ("not-up", "ssh-unreachable")
        )

    def _start(self, former: AgentAddress | None) -> AgentAddress:
        """Start an agent, unless another thread has replaced ``former`` meanwhile."""
        with self._start_lock:
            if self._address is not None and self._address is not former:
                return self._address
            address = self._launch()
            try:
                self._checked = self._connect_to(address)
            except (SshError, HealthError) as error:
                if error.code == "ssh-unreachable" or not self._unix:
                    raise _forwarding_error(error) from error
                self._unix = False
                address = self._launch()
                self._check_forwarding(address)
            self._address = address
            return address

    def _check_forwarding(self, address: AgentAddress) -> None:
        try:
            self._checked = self._connect_to(address)
        except (SshError, HealthError) as error:
            raise _forwarding_error(error) from error

    def _take_checked(self) -> FrameSocket | None:
        with self._start_lock:
            checked, self._checked = self._checked, None
            return checked

    def _launch(self) -> AgentAddress:
        answer = call_launcher(
            self._machine.run,
            {"listen": "unix" if self._unix else "tcp"},
            program="files",
            python=self._python,
            progress=self._progress,
            deadline=self._deadline.within(START_TIMEOUT_S),
        )
        match answer:
            case {"address": str(path), "secret": str(secret)} if self._unix and path.startswith("/"):
                return AgentAddress(path, 0, Secret(secret))
            case {"address": int(port), "secret": str(secret)} if not self._unix and 0 < port < 65536:
                return AgentAddress("127.0.0.1", port, Secret(secret))
        raise invalid_reply("expected the agent's address")

    def _connect_to(self, address: AgentAddress) -> FrameSocket:
        """Raises ``HealthError`` where no agent listens, ``SshError`` where the server does not forward."""
        try:
            sock = self._machine.connect(address.host, address.port, within_s=CONNECT_TIMEOUT_S)
        except OSError as error:
            raise lost_error(str(error)) from error
        connection = FrameSocket(sock)
        try:
            secret = bytes.fromhex(address.secret.reveal())
            if address.port == 0:
                connection.send_secret(secret)
            else:
                connection.set_timeout(CONNECT_TIMEOUT_S)
                connection.prove_as_client(secret)
                connection.set_timeout(None)
        except FrameSocketClosed as error:
            connection.close()
            raise HealthError("not-answering", "The agent for files does not respond", str(error)) from error
        except InvalidFrame as error:
            connection.close()
            raise HealthError(
                "stranger-answered", "Another program listens in place of the agent", str(error)
            ) from error
        except BaseException:
            connection.close()
            raise
        return connection


@contextlib.contextmanager
def open_agent(
    machine: AgentMachine, *, python: str = "auto", progress: Progress, deadline: Deadline
) -> Iterator[Agent]:
    """An agent that is connected. ``python``: as in ``call_launcher``. ``deadline``: of all that is done with it.

    Raises ``MachineError``: ``python-missing``, ``agent-did-not-start``; ``SshError`` ``forwarding-disabled``; and as
    ``call_launcher``."""
    agent = Agent(machine, python, progress, deadline)
    try:
        agent.start()
        yield agent
    finally:
        agent.close()


def lost_error(why: str) -> SshError:
    return SshError("ssh-unreachable", "The connection to the machine was lost", clean_line(why, MAX_WHY_CHARS))


def reason(error: object) -> str:
    """The reason in an error of the agent, safe to show."""
    if not isinstance(error, dict) or not isinstance(error.get("why"), str):
        raise invalid_reply("an error without a reason")
    return clean_line(error["why"], MAX_WHY_CHARS) or "unknown reason"


def _answers(control: FrameSocket) -> Iterator[dict[str, Any]]:
    while True:
        try:
            header, body_length = control.receive()
        except InvalidFrame as error:
            raise invalid_reply(str(error)) from error
        if body_length:
            raise invalid_reply("a body where none is expected")
        yield from _answer(header)
        if not header.get("more"):
            return


def _answer(header: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "error" in header:
        raise MachineError("file-request-failed", "The machine can't read or write there", reason(header["error"]))
    if isinstance(header.get("result"), dict):
        yield header["result"]
    elif header.get("end") is not True:
        raise invalid_reply("a frame of an unknown kind")


def _forwarding_error(error: RemoteRuntimeError) -> RemoteRuntimeError:
    if error.code == "ssh-unreachable" or isinstance(error, LocalError):
        return error
    return SshError(
        "forwarding-disabled",
        "The SSH server forwards no connection to the agent for files",
        str(error),
        FORWARDING_HINT,
    )
