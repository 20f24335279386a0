"""A program that runs for an SSH session, and its child process on pipes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from abc import ABC, abstractmethod
from asyncio.subprocess import PIPE, SubprocessStreamProtocol
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Program:
    argv: Sequence[str]
    environment: Mapping[str, str]
    directory: Path


class Child(ABC):
    """A running program. ``outputs``: what it writes. ``output_ends_at_exit``: the output of its descendants after its
    end is not awaited, as by sshd with a terminal."""

    output_ends_at_exit: ClassVar[bool]
    outputs: Sequence[asyncio.StreamReader]

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    @abstractmethod
    def write(self, data: bytes) -> None: ...

    @abstractmethod
    async def drain(self) -> None: ...

    @abstractmethod
    def close_stdin(self) -> None: ...

    @abstractmethod
    def resize(self, columns: int, rows: int) -> None: ...

    @abstractmethod
    def hang_up(self) -> None:
        """Closes this side of its pipes or its terminal."""

    def kill(self) -> None:
        self.hang_up()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def status(self) -> int:
        """The exit status, negative for a signal."""
        return await self._process.wait()


class PipedChild(Child):
    output_ends_at_exit: ClassVar[bool] = False

    def __init__(self, transport: asyncio.SubprocessTransport, protocol: SubprocessStreamProtocol) -> None:
        super().__init__(asyncio.subprocess.Process(transport, protocol, asyncio.get_running_loop()))
        self._transport = transport
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


class _Pipes(SubprocessStreamProtocol):
    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """A program that closes its stdin is no failure; Python 3.10 reports one that cannot be retrieved."""
        super().pipe_connection_lost(fd, None if fd == 0 else exc)
