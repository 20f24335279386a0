"""``python -m remote_runtime`` and the installed command are the same program."""

from __future__ import annotations

import sys

from .core.subprocesses import disable_core_dumps


def main() -> None:
    disable_core_dumps()
    if sys.argv[1:2] != ["up"] or not sys.argv[2:] or sys.argv[2].startswith("-"):
        sys.exit(_run())
    from .state import launch  # imported late: the other commands do not need it

    launch.prestart(sys.argv[2])  # the word after `up` is a profile
    try:
        code = _run()
    finally:
        launch.stop_prestarted()
    sys.exit(code)


def _run() -> int:
    try:
        from .cli import main as run

        return run()
    except KeyboardInterrupt:  # before the command line handles signals
        return 130


if __name__ == "__main__":
    main()
