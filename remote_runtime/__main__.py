"""``python -m remote_runtime`` and the installed command are the same program."""

from __future__ import annotations

import sys

from .core.subprocesses import disable_core_dumps

OUTPUT_FLAGS = ("-q", "--quiet", "-v", "--verbose", "--json")  # before or after the command


def main() -> None:
    # paramiko imports it for its own reader of ~/.ssh/config, which is not used: 0.2 s of each command that connects.
    sys.modules["invoke"] = None  # type: ignore[assignment]
    disable_core_dumps()
    words = [word for word in sys.argv[1:] if word not in OUTPUT_FLAGS]
    if words[:1] not in (["up"], ["start"]) or not words[1:] or words[1].startswith("-"):
        sys.exit(_run())
    from .state import launch  # imported late: the other commands do not need it

    launch.prestart(words[1])  # the word after `up` is a profile
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
