"""A program on a pseudo-terminal. POSIX only."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import sys
import termios
from asyncio.subprocess import Process
from typing import ClassVar

from .program import CHUNK_BYTES, Child, Program

if sys.platform == "win32":
    raise ImportError("Windows has no pseudo-terminals")

# A session leader without a terminal takes its stdin as the controlling one, then becomes the program.
_SET_CONTROLLING_TTY = (
    "import fcntl,os,sys,termios;fcntl.ioctl(0,termios.TIOCSCTTY,0);os.execvp(sys.argv[1],sys.argv[1:])"
)


class PtyChild(Child):
    output_ends_at_exit: ClassVar[bool] = True

    def __init__(self, process: Process, master: int, reader: asyncio.StreamReader) -> None:
        super().__init__(process)
        self._master = master
        self._closed = False
        self._reading: asyncio.BaseTransport | None = None
        self._writing: asyncio.WriteTransport | None = None
        self.outputs = (reader,)

    @classmethod
    async def start(cls, program: Program, columns: int, rows: int) -> PtyChild:
        master, slave = os.openpty()
        try:
            _resize(master, columns, rows)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", "-c", _SET_CONTROLLING_TTY, *program.argv,
                stdin=slave, stdout=slave, stderr=slave,
                env=program.environment, cwd=program.directory, start_new_session=True,
            )  # fmt: skip
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        child = cls(process, master, asyncio.StreamReader(CHUNK_BYTES))
        await child._connect()
        return child

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._reading, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self.outputs[0]), os.fdopen(os.dup(self._master), "rb", buffering=0)
        )
        self._writing, _ = await loop.connect_write_pipe(
            asyncio.BaseProtocol, os.fdopen(os.dup(self._master), "wb", buffering=0)
        )

    def write(self, data: bytes) -> None:
        if self._writing is not None and not self._writing.is_closing():
            self._writing.write(data)

    async def drain(self) -> None:
        """Not needed: input is small."""

    def close_stdin(self) -> None:
        """Sends the end of input, Ctrl-D."""
        self.write(b"\x04")

    def resize(self, columns: int, rows: int) -> None:
        if not self._closed:
            _resize(self._master, columns, rows)

    def hang_up(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._writing is not None:
            self._writing.abort()
        if self._reading is not None:
            self._reading.close()
        os.close(self._master)


def _resize(master: int, columns: int, rows: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0))
