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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

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
    """A running program. ``outputs``: what it writes; ``status``: its exit status, negative for a signal."""

    pid: int

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

    async def exited(self) -> None:
        """Returns when no more output is to be awaited."""
        ...


async def serve(session: asyncssh.SSHServerProcess[bytes], program: Program) -> None:
    """Runs ``program`` until it has ended or the client has gone."""
    try:
        child = await _start(session, program)
    except OSError as error:
        session.stderr.write(f"{program.argv[0]}: {error.strerror}\n".encode())
        session.exit(126)
        return
    writers = (session.stdout, session.stderr)
    feeding = asyncio.ensure_future(_feed(session, child))
    copying = [asyncio.ensure_future(_copy(*pair)) for pair in zip(child.outputs, writers, strict=False)]
    ending = asyncio.ensure_future(_end(child, copying))
    gone = asyncio.ensure_future(session.channel.wait_closed())
    try:
        await asyncio.wait((ending, gone), return_when=asyncio.FIRST_COMPLETED)
        if ending.done():
            _report(session, await child.status())
        else:
            child.hang_up()
            await child.status()
    except asyncio.CancelledError:
        child.kill()
        await child.status()
        raise
    finally:
        for task in (feeding, ending, gone, *copying):
            task.cancel()
        child.hang_up()


async def _start(session: asyncssh.SSHServerProcess[bytes], program: Program) -> Child:
    if sys.platform != "win32" and session.term_type is not None:
        from .terminal import TerminalChild

        columns, rows = session.term_size[:2]
        return await TerminalChild.start(program, columns, rows)
    return await _PipedChild.start(program)


async def _end(child: Child, copying: Sequence[Awaitable[None]]) -> None:
    everything = asyncio.gather(*copying)
    exited = asyncio.ensure_future(child.exited())
    await asyncio.wait((everything, exited), return_when=asyncio.FIRST_COMPLETED)
    if exited.done():
        await asyncio.wait((everything,), timeout=DRAIN_S)
    exited.cancel()
    everything.cancel()
    await child.status()


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
    if status >= 0:
        session.exit(status)
    else:
        session.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))


class _PipedChild:
    """Three pipes."""

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
        if self._process.stdin is not None:
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

    async def exited(self) -> None:
        """Never: a background process may still write."""
        await asyncio.get_running_loop().create_future()
