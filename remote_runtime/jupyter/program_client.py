"""Who receives a program's output, gives it input, and learns its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..core.fast_dataclass import fast_dataclass
from ..core.sanitize import clean_line

STREAMS = ("stdout", "stderr")
INTERRUPTED = 130
MAX_READ_BYTES = 1 << 20


class ProgramClient(Protocol):
    """Who gets a program's output and gives it its input. ``read`` and ``read_password`` are called in another thread
    than the rest."""

    def write(self, name: str, content: bytes) -> None:
        """Of the stream ``name``. Raises ``BrokenPipeError`` if it is not read any more."""

    def display(self, kind: str, content: Mapping[str, Any]) -> None:
        """A message of Jupyter's protocol."""

    def read(self, max_bytes: int) -> bytes:
        """Blocks until there is input; empty at its end."""

    def read_password(self, prompt: str) -> bytes:
        """A line with its end; empty at the end of the input."""

    def note(self, text: str) -> None:
        """What takes time, or was lost."""


@fast_dataclass(frozen=True)
class ProgramError:
    """The exception that ended a program."""

    name: str
    value: str
    traceback: str


@fast_dataclass(frozen=True)
class ProgramEnd:
    """``status``: as of Python; 130 after an interrupt."""

    status: int
    error: ProgramError | None


class InputReader:
    """Reads in a thread of its own, one thing at a time. What was read for a question that is over, because the program
    was interrupted, is the answer to the next one."""

    def __init__(self, client: ProgramClient, answer: Callable[[int, bytes], None]) -> None:
        self._client = client
        self._send = answer
        self._lock = threading.Lock()
        self._number = 0
        self._is_reading = False
        self._last: tuple[int, bytes] | None = None

    def ask(self, question: Mapping[str, Any]) -> None:
        with self._lock:
            self._number = int(question["id"])
            if self._is_reading:
                return
            self._is_reading = True
        threading.Thread(target=self._read, args=(question,), daemon=True, name="program-input").start()

    def answer_again(self) -> None:
        """The last answer may have been lost; the program takes each one once."""
        with self._lock:
            last = self._last
        if last is not None:
            self._send(*last)

    def _read(self, question: Mapping[str, Any]) -> None:
        if question.get("password"):
            content = self._client.read_password(clean_line(str(question.get("prompt", "")), 500))
        else:
            content = self._client.read(max(1, min(int(question["bytes"]), MAX_READ_BYTES)))
        with self._lock:
            self._is_reading = False
            self._last = self._number, content
        self._send(*self._last)


def program_end(document: Mapping[str, Any]) -> ProgramEnd:
    """Raises ``ValueError``, ``KeyError`` or ``TypeError`` for what is no end."""
    error = document.get("error")
    if isinstance(error, dict):
        error = ProgramError(*(str(error.get(name, "")) for name in ("ename", "evalue", "traceback")))
    return ProgramEnd(int(document["status"]) & 0xFF, error or None)
