"""Prompts for a program whose stdin and stdout belong to another one."""

from __future__ import annotations

import sys

from .progress import TerminalView

_TERMINAL = "/dev/tty"


class ControllingTerminalView(TerminalView):
    """Prompts on the terminal of the process, as OpenSSH's client does, and reports progress only if ``verbose``."""

    def __init__(self, *, verbose: bool) -> None:
        super().__init__(quiet=not verbose, verbose=verbose, plain=True, show_names=False)
        self.interactive = _has_terminal()

    @staticmethod
    def _read(prompt: str, *, secret: bool) -> str:
        if secret:
            import getpass

            return getpass.getpass(prompt)
        with open(_TERMINAL, encoding="utf-8", errors="replace") as source:
            with open(_TERMINAL, "w", encoding="utf-8") as terminal:
                terminal.write(prompt)
            line = source.readline()
        if not line:
            raise EOFError
        return line.rstrip("\n")


def _has_terminal() -> bool:
    if sys.platform == "win32":
        return False
    try:
        with open(_TERMINAL, "rb"):
            return True
    except OSError:
        return False
