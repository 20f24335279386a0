"""``python -m remote_runtime`` and the installed command are the same program."""

from __future__ import annotations

import sys


def main() -> None:
    from .cli import main as run

    sys.exit(run())


if __name__ == "__main__":
    main()
