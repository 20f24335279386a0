"""Runs a command for an SSH session, with sshd's manners.

The channel stays open until the command has ended and its output is closed by everyone who inherited it. A client that
goes away takes no process with it: its pipes are closed, its terminal hangs up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, SubprocessStreamProtocol
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    import asyncssh

CHUNK_BYTES = 64 * 1024
DRAIN_S = 0.5


@dataclass(frozen=True)
class Program:
    argv: Sequence[str]
    environment: Mapping[str, str]
    directory: Path


class Child(Protocol):
    """A running program. ``outputs``: what it writes; ``status``: its exit status, negative for a signal.

    ``output_ends_with_it``: what its descendants write after its end is not awaited, as sshd does with a terminal.
    """

    pid: int
    output_ends_with_it: ClassVar[bool]

    @property
    def outputs(self) -> Sequence[asyncio.StreamReader]: ...

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def close_stdin(self) -> None: ...

    def resize(self, columns: int, rows: int) -> None: ...

    def hang_up(self) -> None:
        """Closes all its pipes, or its terminal, on our side."""
        ...

    def kill(self) -> None: ...

    async def status(self) -> int: ...


async def serve(session: asyncssh.SSHServerProcess[bytes], program: Program) -> None:
    """Runs ``program`` until it has ended or the client has gone."""
    try:
        child = await _start(session, program)
    except OSError as error:
        session.stderr.write(f"{program.argv[0]}: {error.strerror}\n".encode())
        session.exit(126)
        return
    pairs = zip(child.outputs, (session.stdout, session.stderr), strict=False)
    output = asyncio.gather(*(_copy(*pair) for pair in pairs))
    feeding = asyncio.ensure_future(_feed(session, child))
    status = asyncio.ensure_future(child.status())
    gone = asyncio.ensure_future(session.channel.wait_closed())
    try:
        if child.output_ends_with_it:
            await asyncio.wait((status, gone), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((output, gone), return_when=asyncio.FIRST_COMPLETED, timeout=DRAIN_S)
        else:
            await asyncio.wait((output, gone), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((status, gone), return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            child.hang_up()
        _report(session, await asyncio.shield(status))
    except asyncio.CancelledError:
        child.kill()
        await status
        raise
    finally:
        child.hang_up()
        for task in (output, feeding, gone):
            task.cancel()
        await asyncio.gather(output, feeding, gone, return_exceptions=True)


async def _start(session: asyncssh.SSHServerProcess[bytes], program: Program) -> Child:
    if sys.platform != "win32" and session.term_type is not None:
        from .terminal import TerminalChild

        columns, rows = session.term_size[:2]
        return await TerminalChild.start(program, columns, rows)
    return await _PipedChild.start(program)


async def _copy(reader: asyncio.StreamReader, writer: asyncssh.SSHWriter[bytes]) -> None:
    import asyncssh

    with contextlib.suppress(OSError, asyncssh.Error):  # the client has gone: `serve` sees it too
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()


async def _feed(session: asyncssh.SSHServerProcess[bytes], child: Child) -> None:
    import asyncssh

    while True:
        try:
            data = await session.stdin.read(CHUNK_BYTES)
        except asyncssh.TerminalSizeChanged as change:
            child.resize(change.width, change.height)
            continue
        except asyncssh.SignalReceived as received:
            _signal(child, received.signal)
            continue
        except asyncssh.BreakReceived:
            continue
        except (OSError, asyncssh.Error):  # the client has gone: `serve` sees it too
            return
        if not data:
            child.close_stdin()
            return
        with contextlib.suppress(OSError):  # it reads no more; what it writes may still matter
            child.write(data)
            await child.drain()


def _signal(child: Child, name: str) -> None:
    number = getattr(signal, f"SIG{name}", None)
    if number is not None:
        with contextlib.suppress(OSError):
            os.kill(child.pid, number)


def _report(session: asyncssh.SSHServerProcess[bytes], status: int) -> None:
    """To a client that has gone this says nothing."""
    if status >= 0:
        session.exit(status)
    else:
        session.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))


class _PipedChild:
    """Three pipes."""

    output_ends_with_it: ClassVar[bool] = False

    def __init__(self, transport: asyncio.SubprocessTransport, protocol: SubprocessStreamProtocol) -> None:
        self._transport = transport
        self._process = asyncio.subprocess.Process(transport, protocol, asyncio.get_running_loop())
        self.pid = self._process.pid
        assert self._process.stdout is not None  # noqa: S101 - all three are PIPE
        assert self._process.stderr is not None  # noqa: S101 - all three are PIPE
        self.outputs = (self._process.stdout, self._process.stderr)

    @classmethod
    async def start(cls, program: Program) -> _PipedChild:
        loop = asyncio.get_running_loop()
        factory: Callable[[], SubprocessStreamProtocol] = lambda: SubprocessStreamProtocol(CHUNK_BYTES, loop)  # noqa: E731 - the type
        return cls(
            *await loop.subprocess_exec(
                factory,
                *program.argv,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env=program.environment,
                cwd=program.directory,
                start_new_session=os.name != "nt",
            )
        )

    def write(self, data: bytes) -> None:
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(data)

    async def drain(self) -> None:
        if self._process.stdin is not None:
            await self._process.stdin.drain()

    def close_stdin(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    def resize(self, columns: int, rows: int) -> None:
        """Pipes have no size."""

    def hang_up(self) -> None:
        for number in (0, 1, 2):
            pipe = self._transport.get_pipe_transport(number)
            if pipe is not None:
                pipe.close()

    def kill(self) -> None:
        self.hang_up()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def status(self) -> int:
        return await self._process.wait()
