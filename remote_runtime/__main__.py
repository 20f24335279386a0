"""``python -m remote_runtime`` and the installed command are the same program."""

from __future__ import annotations

import sys

from .core.subprocesses import leave_no_core


def main() -> None:
    leave_no_core()
    if sys.argv[1:2] != ["up"]:
        sys.exit(_run())
    from .state import launch  # which loads what the other commands can do without

    launch.begin_early(sys.argv[2:])
    try:
        code = _run()
    finally:
        launch.end_unused()
    sys.exit(code)


def _run() -> int:
    try:
        from .cli import main as run

        return run()
    except KeyboardInterrupt:  # before there is a command that hears it
        return 130


if __name__ == "__main__":
    main()
