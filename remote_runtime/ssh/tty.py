"""The terminal of this process: its raw mode, its size, its input."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator

STDIN = 0
_IUTF8 = 42  # RFC 8160
_VERASE = 3  # RFC 4254 8
_CHUNK_BYTES = 1 << 15


def size() -> tuple[int, int]:
    """(columns, rows)."""
    try:
        columns, rows = os.get_terminal_size(STDIN)
    except OSError:
        return 80, 24
    return columns, rows


def modes() -> bytes:
    """The terminal modes that differ from usual ones, encoded by RFC 4254 8."""
    erase = 127
    if sys.platform != "win32":
        import termios

        with contextlib.suppress(termios.error):
            erase = termios.tcgetattr(STDIN)[6][termios.VERASE][0]
    return struct.pack(">BIBIB", _VERASE, erase, _IUTF8, 1, 0)


@contextlib.contextmanager
def raw() -> Iterator[None]:
    """Raw mode; the former mode is restored at the end."""
    if sys.platform == "win32":
        with _raw_console():
            yield
        return
    import termios
    import tty

    before = termios.tcgetattr(STDIN)
    try:
        tty.setraw(STDIN, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(STDIN, termios.TCSADRAIN, before)


@contextlib.contextmanager
def signals(on_resize: Callable[[], None], on_signal: Callable[[int], None]) -> Iterator[None]:
    """Calls ``on_resize`` for SIGWINCH, ``on_signal`` with the number of SIGTERM and SIGHUP. Main thread only."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP", "SIGWINCH"):
            number = getattr(signal, name, None)
            if number is not None:
                before[number] = signal.getsignal(number)
                signal.signal(
                    number, (lambda *_: on_resize()) if name == "SIGWINCH" else (lambda got, _: on_signal(got))
                )
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def selectable_input() -> Iterator[tuple[int, Callable[[int], bytes]]]:
    """A descriptor for select(), and how to read it. Windows selects sockets only: there a thread copies stdin to one,
    and is left behind in its read at the end."""
    if sys.platform != "win32":
        yield STDIN, lambda limit: os.read(STDIN, limit)
        return
    ours, theirs = socket.socketpair()

    def feed() -> None:
        with theirs, contextlib.suppress(OSError):
            while data := os.read(STDIN, _CHUNK_BYTES):
                theirs.sendall(data)

    threading.Thread(target=feed, name="terminal", daemon=True).start()
    with ours:
        yield ours.fileno(), ours.recv


@contextlib.contextmanager
def _raw_console() -> Iterator[None]:
    """https://learn.microsoft.com/en-us/windows/console/setconsolemode"""
    import ctypes

    kernel32 = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]  # exists on Windows only
    wanted = {-10: (0x0200, ~0x0007), -11: (0x0004, ~0x0000)}  # virtual terminal on; line, echo, Ctrl-C handling off
    before = {}
    try:
        for which, (on, mask) in wanted.items():
            handle, mode = kernel32.GetStdHandle(which), ctypes.c_uint32()
            if kernel32.GetConsoleMode(handle, ctypes.byref(mode)):
                before[handle] = mode.value
                kernel32.SetConsoleMode(handle, (mode.value & mask | on) & 0xFFFFFFFF)
        yield
    finally:
        for handle, value in before.items():
            kernel32.SetConsoleMode(handle, value)
