"""Single keys from the terminal: Windows' codes, and keys that were pressed too early."""

from __future__ import annotations

import os
import pty
import select
import sys
import tty
from types import SimpleNamespace

import pytest

from remote_runtime.cli.output.keys import discard_typed, read_keys


class Msvcrt:
    """What Windows' ``msvcrt`` has for the console: keys that wait, as ``getwch`` returns them."""

    def __init__(self, waiting: str) -> None:
        self.waiting = list(waiting)

    def kbhit(self) -> bool:
        return bool(self.waiting)

    def getwch(self) -> str:
        assert self.waiting, "getwch would block"
        return self.waiting.pop(0)


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Msvcrt:
    console = Msvcrt("")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setitem(sys.modules, "msvcrt", console)
    return console


@pytest.mark.parametrize(
    ("codes", "key"),
    [
        ("q", "q"), ("\t", "\t"), ("\x1b", "\x1b"), ("à", "à"), ("", ""),
        ("\xe0H", "up"), ("\xe0P", "down"), ("\xe0G", "home"), ("\xe0O", "end"), ("\xe0I", "page up"),
        ("\xe0Q", "page down"), ("\x00H", "up"), ("\x00;", ""),
    ],
)  # fmt: skip
def test_windows_keys_have_the_names_of_all_terminals(windows: Msvcrt, codes: str, key: str) -> None:
    windows.waiting[:] = codes
    with read_keys() as read:
        assert read(0.01) == key
    assert windows.waiting == []


def test_ctrl_c_interrupts_on_windows_too(windows: Msvcrt) -> None:
    windows.waiting[:] = "\x03"
    with read_keys() as read, pytest.raises(KeyboardInterrupt):
        read(0.01)


def test_windows_keys_that_were_pressed_too_early_are_forgotten(windows: Msvcrt) -> None:
    windows.waiting[:] = "yy\xe0H"
    discard_typed()
    assert windows.waiting == []


def test_keys_that_were_pressed_too_early_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = pty.openpty()
    tty.setcbreak(far)
    with os.fdopen(far, "r") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        os.write(near, b"yes")
        assert select.select([far], [], [], 5.0)[0]
        discard_typed()
        os.write(near, b"n")
        assert os.read(far, 10) == b"n"
    os.close(near)
