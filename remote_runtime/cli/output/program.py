"""Passes on the output and the input of a program that runs on the machine: as its own, byte for byte, or as JSON."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import console

Keep = Callable[[Mapping[str, Any]], str]


class TerminalProgram:
    """``keep``: saves what a terminal can't show, and returns where in words; empty where nothing was saved. ``begin``:
    called before the first byte."""

    def __init__(self, keep: Keep, begin: Callable[[], None]) -> None:
        self._keep = keep
        self._begin = begin
        self._has_told = False

    def write(self, name: str, content: bytes) -> None:
        self._begin()
        stream = sys.stdout if name == "stdout" else sys.stderr
        stream.flush()
        stream.buffer.write(content)
        stream.buffer.flush()

    def display(self, kind: str, content: Mapping[str, Any]) -> None:
        """What has a text is printed, as Python's ``display`` without a notebook does it."""
        if kind == "clear_output":
            return
        data = content.get("data")
        data = data if isinstance(data, dict) else {}
        kept = self._keep(data)
        if kept:
            self.note(kept)
        elif "text/plain" in data and not any(str(name).startswith("image/") for name in data):
            text = data["text/plain"]
            self.write("stdout", f"{''.join(text) if isinstance(text, list) else text}\n".encode())
        elif not self._has_told:
            self._has_told = True
            self.note("Images are not shown: --output DIR saves them")

    def read(self, max_bytes: int) -> bytes:
        self._begin()
        return read_input(max_bytes)

    def read_password(self, prompt: str) -> bytes:
        self._begin()
        return read_hidden(prompt)

    def note(self, text: str) -> None:
        self._begin()
        console.say(text, "detail")


class JsonProgram:
    """A line for each event."""

    def __init__(self, keep: Keep) -> None:
        self._keep = keep

    def write(self, name: str, content: bytes) -> None:
        try:
            json_line("stream", name=name, text=content.decode())
        except UnicodeDecodeError:
            json_line("stream", name=name, base64=base64.b64encode(content).decode())

    def display(self, kind: str, content: Mapping[str, Any]) -> None:
        data = content.get("data")
        kept = self._keep(data) if isinstance(data, dict) else ""
        json_line("display", type=kind, content=dict(content), **({"note": kept} if kept else {}))

    def read(self, max_bytes: int) -> bytes:
        return read_input(max_bytes)

    def read_password(self, prompt: str) -> bytes:
        return read_hidden(prompt)

    def note(self, text: str) -> None:
        json_line("note", text=text)


def json_line(event: str, **fields: Any) -> None:
    console.answer(json.dumps({"schema": 1, "event": event, **fields}, ensure_ascii=True))


def read_input(max_bytes: int) -> bytes:
    """Of this process; empty at the end."""
    if sys.stdin is None:
        return b""
    try:
        return os.read(sys.stdin.fileno(), max_bytes)
    except (OSError, ValueError):  # it is closed
        return b""


def read_hidden(prompt: str) -> bytes:
    """A line; on a terminal without its echo."""
    import getpass

    if sys.stdin is not None and sys.stdin.isatty():
        try:
            return getpass.getpass(prompt).encode("utf-8", "surrogateescape") + b"\n"
        except EOFError:
            return b""
    line = b""
    while not line.endswith(b"\n") and (byte := read_input(1)):
        line += byte
    return line


@contextlib.contextmanager
def restored_terminal() -> Iterator[None]:
    """The terminal's settings as they were: a thread may still read a password from it."""
    if sys.platform == "win32" or sys.stdin is None or not sys.stdin.isatty():
        yield
        return
    import termios

    before = termios.tcgetattr(sys.stdin.fileno())
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, before)
