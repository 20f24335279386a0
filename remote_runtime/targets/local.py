"""This machine as a target: the same session as over SSH, without SSH."""

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
from typing import IO

from ..core.callbacks import CommandResult
from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, HealthError, MachineError
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Instance, format_address
from ..core.profile import Profile
from ..core.sanitize import clean
from ..tunnel.identity import IdentityCheck
from ..tunnel.relay import SocketStream
from .base import FindOptions, LoginOptions, Target

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
    """What ``ssh.Session`` is for another machine. Never closed by anybody but us."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self.instance = None
        self.closed = False
        self.why_closed = ""
        self.is_fast = False

    def __enter__(self) -> LocalSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def login_facts(self) -> dict[str, str]:
        """This computer is not entered."""
        return {}

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes,
        on_line: Callable[[str], bool | None],
        deadline: Deadline,
        reply: Callable[[], bytes | None] | None = None,
    ) -> CommandResult:
        """``protocols.Run``. ``python3`` is our own interpreter: it is there whatever the PATH says."""
        command = [sys.executable if command[0] in ("python3", "python") else command[0], *command[1:]]
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environ,
            )
        except OSError as error:
            return CommandResult(127, str(error))
        return self._communicate(child, stdin, on_line, deadline, reply)

    def dial(self, host: str, port: int, *, within_s: float) -> SocketStream:
        try:
            if port:
                return SocketStream(socket.create_connection((host, port), timeout=within_s))
            return SocketStream(_unix_connection(host, within_s))
        except OSError as error:
            raise HealthError(
                "not-answering", f"Nothing answers on {format_address(host, port)}", error.strerror or str(error)
            ) from error

    def channel_pool(
        self, host: str, port: int, *, identity_check: Callable[[], IdentityCheck] | None, keep_ready: bool
    ) -> None:
        """A connection on this machine is quick enough."""

    def check(self, within_s: float) -> float:
        """This machine is always there."""
        return 0.0

    def shell(self, command: str | None) -> int:
        """The user's shell, or a command in it, on this terminal; its exit status."""
        if sys.platform == "win32":
            shell = [self._environ.get("COMSPEC", "cmd.exe"), *(["/c", command] if command else [])]
        else:
            shell = [self._environ.get("SHELL", "/bin/sh"), *(["-c", command] if command else [])]
        status = subprocess.call(shell, env=self._environ)
        return status if status >= 0 else 128 - status

    def close(self, why: str = "") -> None:
        self.closed = True

    def _communicate(
        self,
        child: subprocess.Popen[bytes],
        stdin: bytes,
        on_line: Callable[[str], bool | None],
        deadline: Deadline,
        reply: Callable[[], bytes | None] | None,
    ) -> CommandResult:
        if not (child.stdin and child.stdout and child.stderr):
            raise ValueError("the child was started without pipes")
        lines: queue.Queue[bytes | None] = queue.Queue()
        input_queue: queue.Queue[bytes] = queue.Queue()
        for data in filter(None, [stdin]) if reply else (stdin, b""):
            input_queue.put(data)
        errors: list[bytes] = []
        threads = [
            threading.Thread(target=_write_input, args=(child.stdin, input_queue), daemon=True),
            threading.Thread(target=_read_lines, args=(child.stdout, lines), daemon=True),
            threading.Thread(target=_read_tail, args=(child.stderr, errors), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            status = _read_output(child, lines, on_line, deadline, lambda: _queue_reply(reply, input_queue))
        finally:
            input_queue.put(b"")
            _terminate(child)
            # A program that the command left behind may keep its pipes open: their threads end with it, not with us.
            for thread in threads:
                thread.join(PIPE_JOIN_S)
        if status is None:
            return CommandResult(None, "it closed its output and did not end")
        return CommandResult(
            status, clean(b"".join(errors)[-MAX_STDERR_BYTES:].decode(errors="replace"), MAX_STDERR_BYTES)
        )


def _read_output(
    child: subprocess.Popen[bytes],
    lines: queue.Queue[bytes | None],
    on_line: Callable[[str], bool | None],
    deadline: Deadline,
    queue_reply: Callable[[], None],
) -> int | None:
    """Its exit status; None when it does not end."""
    received_bytes = 0
    while (line := _next_line(child, lines, deadline, queue_reply)) is not None:
        received_bytes += len(line)
        if len(line) > MAX_LINE_BYTES or received_bytes > MAX_OUTPUT_BYTES:
            raise MachineError("machine-answer-invalid", "The launcher's answer has no end", f"{received_bytes} bytes")
        if on_line(line.decode(errors="replace").rstrip("\r\n")):
            break
    while child.poll() is None:
        deadline.check()
        if deadline.passed():
            return None
        deadline.sleep(0.02)
    return child.returncode


def _queue_reply(reply: Callable[[], bytes | None] | None, input_queue: queue.Queue[bytes]) -> None:
    data = reply() if reply else b""
    if data is None or data:
        input_queue.put(data or b"")


def _unix_connection(path: str, within_s: float) -> socket.socket:
    if sys.platform == "win32":
        raise OSError("Windows has no unix sockets for Python")
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(within_s)
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def search_path(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that commands on this machine get: the caller's, with our own interpreter's folder last."""
    return {**environ, "PATH": os.pathsep.join([environ.get("PATH", os.defpath), os.path.dirname(sys.executable)])}


def _terminate(child: subprocess.Popen[bytes]) -> None:
    """An abandoned launcher takes back what it started before it ends; it is given the time for that."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(CLEANUP_S)
        except subprocess.TimeoutExpired:
            child.kill()


def _next_line(
    child: subprocess.Popen[bytes],
    lines: queue.Queue[bytes | None],
    deadline: Deadline,
    queue_reply: Callable[[], None],
) -> bytes | None:
    """None when there are no more, or when it has ended and what it left behind says nothing."""
    ended_at = None
    while True:
        deadline.check()
        queue_reply()
        try:
            return lines.get(timeout=0.1)
        except queue.Empty:
            if deadline.passed():
                raise DeadlinePassed(f"A command on this machine took more than {deadline.timeout_s:.0f} s") from None
            if child.poll() is not None:
                ended_at = ended_at or time.monotonic()
                if time.monotonic() - ended_at > DRAIN_S:
                    return None


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
