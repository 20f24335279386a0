"""This computer as a target: the same session as over SSH, without SSH."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TYPE_CHECKING

from ..core.callbacks import CommandResult
from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, HealthError, MachineError
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Instance, format_address
from ..core.profile import Profile
from ..core.sanitize import clean
from ..tunnel.identity import ServerIdentity
from ..tunnel.relay import SocketStream
from ..tunnel.single_connection import relay_in_background
from .base import FindOptions, LoginOptions, Target

if TYPE_CHECKING:
    from ..ssh.streams.client_streams import ClientStreams

MAX_LINE_BYTES = 1 << 20
MAX_OUTPUT_BYTES = 16 << 20
MAX_STDERR_BYTES = 8 << 10
CLEANUP_S = 15.0
PIPE_JOIN_S = 0.5
DRAIN_S = 2.0


@fast_dataclass(frozen=True)
class LocalBackend(Target):
    profile: Profile
    environ: Mapping[str, str]

    @property
    def uses_ssh(self) -> bool:
        return False

    def find(self, options: FindOptions) -> Instance:
        return Instance("local", "this machine")

    def connect(self, instance: Instance, options: LoginOptions) -> LocalSession:
        return LocalSession(search_path(self.environ))


class LocalSession:
    """What ``ssh.Session`` is for another machine. Only ``close`` closes it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self.instance = None
        self.closed = False
        self.silent_s = 0.0
        self.why_closed = ""
        self.is_fast = False

    def __enter__(self) -> LocalSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def notify_closed(self, call: Callable[[], None]) -> None:
        """Never called: nothing but the caller closes it."""

    def login_facts(self) -> dict[str, str]:
        return {}

    def ssh_server(self, deadline: Deadline) -> None:
        """None: it needs no SSH server."""

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes,
        on_line: Callable[[str], bool | None],
        deadline: Deadline,
        reply: Callable[[], bytes | None] | None = None,
    ) -> CommandResult:
        """``callbacks.RunCommand``. ``python3`` is this interpreter, whatever the PATH has."""
        command = [sys.executable if command[0] in ("python3", "python") else command[0], *command[1:]]
        pipe = subprocess.PIPE
        try:
            child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=self._environ)
        except OSError as error:
            return CommandResult(127, str(error))
        running = _RunningCommand(child, stdin, reply, deadline)
        try:
            status = running.read(on_line)
        finally:
            running.close()
        if status is None:
            return CommandResult(None, "it closed its output and did not exit")
        return CommandResult(status, running.stderr())

    def dial(self, host: str, port: int, *, within_s: float) -> SocketStream:
        try:
            if port:
                return SocketStream(socket.create_connection((host, port), timeout=within_s))
            return SocketStream(_unix_connection(host, within_s))
        except OSError as error:
            what = f"Can't connect to {format_address(host, port)}"
            raise HealthError("not-answering", what, error.strerror or str(error)) from error

    def forward_socket(self, sock: socket.socket, host: str, port: int, *, within_s: float) -> None:
        """See ``ssh.Session.forward_socket``."""
        try:
            stream = self.dial(host, port, within_s=within_s)
        except BaseException:
            sock.close()
            raise
        relay_in_background(sock, stream, lambda: self.closed)

    def channel_pool(self, host: str, port: int, *, identity: ServerIdentity | None) -> None:
        """None: each connection is opened when it is needed."""

    def stream_forwarder(self, host: str, port: int, identity: ServerIdentity, streams: ClientStreams) -> None:
        """None: there is no link that connections could outlive."""

    def check(self, within_s: float) -> float:
        return 0.0

    def shell(self, command: str | None) -> int:
        """Run the user's shell, or a command in it, on this terminal; returns its exit status."""
        if sys.platform == "win32":
            shell = [self._environ.get("COMSPEC", "cmd.exe"), *(["/c", command] if command else [])]
        else:
            shell = [self._environ.get("SHELL", "/bin/sh"), *(["-c", command] if command else [])]
        status = subprocess.call(shell, env=self._environ)
        return status if status >= 0 else 128 - status

    def close(self, why: str = "") -> None:
        self.closed = True


def search_path(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of commands on this computer: ``environ``, with this interpreter's folder last in PATH."""
    return {**environ, "PATH": os.pathsep.join([environ.get("PATH", os.defpath), os.path.dirname(sys.executable)])}


class _RunningCommand:
    """A child process with a thread for each of its pipes. ``reply``: see ``callbacks.RunCommand``."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        stdin: bytes,
        reply: Callable[[], bytes | None] | None,
        deadline: Deadline,
    ) -> None:
        if not (child.stdin and child.stdout and child.stderr):
            raise ValueError("the child was started without pipes")
        self._child, self._reply, self._deadline = child, reply, deadline
        self._input: queue.Queue[bytes] = queue.Queue()  # b"" closes it
        self._lines: queue.Queue[bytes | None] = queue.Queue()  # None: no more
        self._errors: list[bytes] = []
        for data in filter(None, [stdin]) if reply else (stdin, b""):
            self._input.put(data)
        self._threads = [
            threading.Thread(target=_write_input, args=(child.stdin, self._input), daemon=True),
            threading.Thread(target=_read_lines, args=(child.stdout, self._lines), daemon=True),
            threading.Thread(target=_read_tail, args=(child.stderr, self._errors), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def read(self, on_line: Callable[[str], bool | None]) -> int | None:
        """The exit status; None if it closed its output and does not end."""
        received_bytes = 0
        while (line := self._next_line()) is not None:
            received_bytes += len(line)
            if len(line) > MAX_LINE_BYTES or received_bytes > MAX_OUTPUT_BYTES:
                raise MachineError(
                    "machine-answer-invalid", "The launcher's output has no end", f"{received_bytes} bytes"
                )
            if on_line(line.decode(errors="replace").rstrip("\r\n")):
                break
        while self._child.poll() is None:
            self._deadline.check()
            if self._deadline.passed():
                return None
            self._deadline.sleep(0.02)
        return self._child.returncode

    def stderr(self) -> str:
        return clean(b"".join(self._errors)[-MAX_STDERR_BYTES:].decode(errors="replace"), MAX_STDERR_BYTES)

    def close(self) -> None:
        self._input.put(b"")
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(CLEANUP_S)  # a launcher undoes what it started before it ends
            except subprocess.TimeoutExpired:
                self._child.kill()
        # A program that the command left behind may keep its pipes open: their threads end with it, not before.
        for thread in self._threads:
            thread.join(PIPE_JOIN_S)

    def _next_line(self) -> bytes | None:
        """None if there are no more, or if the child has ended and what it left behind writes nothing."""
        ended_at = None
        while True:
            self._deadline.check()
            data = self._reply() if self._reply else b""
            if data is None or data:
                self._input.put(data or b"")
            try:
                return self._lines.get(timeout=0.1)
            except queue.Empty:
                if self._deadline.passed():
                    what = f"A command on this computer took more than {self._deadline.timeout_s:.0f} s"
                    raise DeadlinePassed(what) from None
                if self._child.poll() is not None:
                    ended_at = ended_at or time.monotonic()
                    if time.monotonic() - ended_at > DRAIN_S:
                        return None


def _unix_connection(path: str, within_s: float) -> socket.socket:
    if sys.platform == "win32":
        raise OSError("Python on Windows has no Unix sockets")
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(within_s)
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def _write_input(pipe: IO[bytes], input_queue: queue.Queue[bytes]) -> None:
    with contextlib.suppress(OSError):  # it ended without reading everything; its exit status says why
        while data := input_queue.get():
            pipe.write(data)
            pipe.flush()
    with contextlib.suppress(OSError):
        pipe.close()


def _read_lines(pipe: IO[bytes], lines: queue.Queue[bytes | None]) -> None:
    with pipe:
        while line := pipe.readline(MAX_LINE_BYTES + 1):
            lines.put(line)
    lines.put(None)


def _read_tail(pipe: IO[bytes], chunks: list[bytes]) -> None:
    with pipe:
        while chunk := pipe.read1(MAX_STDERR_BYTES):  # type: ignore[attr-defined]  # a BufferedReader, as Popen makes it
            chunks.append(chunk)
            del chunks[:-16]
