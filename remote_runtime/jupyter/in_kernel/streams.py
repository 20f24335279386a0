"""``sys.stdout``, ``sys.stderr``, ``sys.stdin``, ``input`` and ``getpass`` of a program."""

from __future__ import annotations

import builtins
import contextlib
import getpass
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

from .items import STREAMS
from .pump import Pump
from .run import Run

_PID = os.getpid()


class OutputFile(io.RawIOBase):
    """Writes to the program that runs then: a logging handler may keep it for the next one. In a process that was
    forked it writes to the file descriptor."""

    def __init__(self, name: str, pump: Pump, *, is_tty: bool) -> None:
        self.name = f"<{name}>"
        self._stream = name
        self._pump = pump
        self._is_tty = is_tty

    def write(self, content: Any) -> int:
        content = bytes(content)
        if os.getpid() != _PID:
            written = 0
            while written < len(content):
                written += os.write(self.fileno(), content[written:])
        else:
            self._pump.write(self._stream, content)
        return len(content)

    def fileno(self) -> int:
        return 1 + STREAMS.index(self._stream)

    def isatty(self) -> bool:
        return self._is_tty

    def writable(self) -> bool:
        return True


class InputFile(io.RawIOBase):
    def __init__(self, run: Run) -> None:
        self.name = "<stdin>"
        self._run = run

    def readinto(self, buffer: Any) -> int:
        content = b"" if os.getpid() != _PID else self._run.ask(len(buffer))[: len(buffer)]
        buffer[: len(content)] = content
        return len(content)

    def isatty(self) -> bool:
        return self._run.tty["stdin"]

    def readable(self) -> bool:
        return True


@contextlib.contextmanager
def replaced_streams(pump: Pump, run: Run) -> Iterator[None]:
    """Restores the kernel's own at the end, also where the program has changed them."""
    names = [*STREAMS, "stdin", *(f"__{name}__" for name in (*STREAMS, "stdin"))]
    before = {name: getattr(sys, name) for name in names}
    functions = builtins.input, getpass.getpass
    for name in STREAMS:
        file: Any = OutputFile(name, pump, is_tty=run.tty[name])
        errors = "strict" if name == "stdout" else "backslashreplace"
        text = io.TextIOWrapper(file, "utf-8", errors, newline="\n", write_through=True)
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(InputFile(run)), "utf-8", "surrogateescape")
    setattr(sys, "__stdin__", sys.stdin)  # noqa: B010  # typeshed: final
    builtins.input = _input

    def ask_password(prompt: str = "Password: ", stream: Any = None, **options: Any) -> str:
        answer = run.ask(0, prompt=str(prompt), password=True)
        if not answer:
            raise EOFError("EOF when reading a line")
        return answer.decode("utf-8", "surrogateescape").rstrip("\r\n")

    getpass.getpass = ask_password
    try:
        yield
    finally:
        for name in STREAMS:
            with contextlib.suppress(Exception):  # the program may have put anything there
                getattr(sys, name).flush()
        for name, value in before.items():
            setattr(sys, name, value)
        builtins.input, getpass.getpass = functions


def _input(prompt: object = "", /) -> str:
    sys.stderr.flush()
    sys.stdout.write(str(prompt))
    sys.stdout.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError("EOF when reading a line")
    return line[:-1] if line.endswith("\n") else line
