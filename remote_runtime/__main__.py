"""``python -m remote_runtime`` and the installed command are the same program."""

from __future__ import annotations

import sys

from . import spawning


def main() -> None:
    spawning.begin_early(sys.argv[1:])
    try:
        from .cli import main as run

        code = run()
    except KeyboardInterrupt:  # before there is a command that hears it
        code = 130
    finally:
        spawning.end_unused()
    sys.exit(code)


if __name__ == "__main__":
    main()
