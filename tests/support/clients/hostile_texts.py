"""Shows hostile texts on this terminal, and waits for a line before the step that is drawn ends."""

from __future__ import annotations

import sys

from remote_runtime.cli.output import console
from remote_runtime.cli.output.progress import TerminalView
from remote_runtime.core.errors import LocalError

HOSTILE = "\x1b]0;owned\x07\x1b[2J[bold red]evil[/bold red]\r\u202eexe\x9b31m"


def show_hostile(view: TerminalView) -> None:
    name = "work"
    view.step(name, f"step {HOSTILE}")
    view.detail(name, f"detail {HOSTILE}")
    view.note(name, f"note {HOSTILE}")
    view.step(name, f"another {HOSTILE}")
    view.failed(name)
    view.pause()


def main() -> None:
    show_hostile(TerminalView(quiet=False, verbose=True, plain=False, show_names=True))
    view = TerminalView(quiet=False, verbose=False, plain=False, show_names=False)
    view.step("work", "Finding " + HOSTILE)
    view.detail("work", "detail")
    sys.stdin.readline()
    view.done("work")
    view.pause()
    console.failure(LocalError("busy", HOSTILE, HOSTILE))


if __name__ == "__main__":
    main()
