"""A program that runs for an SSH session, and its child process on pipes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from asyncio.subprocess import PIPE, SubprocessStreamProtocol
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Program:
    argv: Sequence[str]
    environment: Mapping[str, str]
    directory: Path


class Child(Protocol):
    """A running program. ``outputs``: what it writes; ``status``: its exit status, negative for a signal.

    ``output_ends_at_exit``: the output of its descendants after its end is not awaited, as by sshd with a terminal.
    """

    pid: int
    output_ends_at_exit: ClassVar[bool]

    @property
    def outputs(self) -> Sequence[asyncio.StreamReader]: ...

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def close_stdin(self) -> None: ...

    def resize(self, columns: int, rows: int) -> None: ...

    def hang_up(self) -> None:
        """Closes all its pipes, or its terminal, on our side."""

    def kill(self) -> None: ...

    async def status(self) -> int: ...


class PipedChild:
    output_ends_at_exit: ClassVar[bool] = False

    def __init__(self, transport: asyncio.SubprocessTransport, protocol: SubprocessStreamProtocol) -> None:
        self._transport = transport
        self._process = asyncio.subprocess.Process(transport, protocol, asyncio.get_running_loop())
        self.pid = self._process.pid
        assert self._process.stdout is not None  # noqa: S101 - all three are PIPE
        assert self._process.stderr is not None  # noqa: S101 - all three are PIPE
        self.outputs = (self._process.stdout, self._process.stderr)

    @classmethod
    async def start(cls, program: Program) -> PipedChild:
        loop = asyncio.get_running_loop()
        return cls(
            *await loop.subprocess_exec(
                lambda: _Pipes(CHUNK_BYTES, loop),
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


class _Pipes(SubprocessStreamProtocol):
    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """A program that closes its stdin is no failure; Python 3.10 reports one that cannot be retrieved."""
        super().pipe_connection_lost(fd, None if fd == 0 else exc)
