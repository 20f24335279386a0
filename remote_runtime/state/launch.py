"""The process of a keeper: begun for a profile, and told later what to do.

A command line that says `up PROFILE` begins it before it imports what it needs itself: both import at the same time
then.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping, Sequence

from ..core.errors import LocalError
from ..core.subprocesses import ISOLATED_SYS_PATH, detached_popen_args, python

KEEPER_PROGRAM = ISOLATED_SYS_PATH + "from remote_runtime.keeper.__main__ import main; sys.exit(main())"
OPTIONS_WITH_VALUE = ("--port", "--port-forward", "--timeout")

_prestarted: dict[str, subprocess.Popen[bytes]] = {}


def start_keeper(reference: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A keeper that waits for its ``errand`` and ends when it gets none. What it says on stderr before is why it ended.
    ``reference`` is only shown where processes are listed."""
    return python(
        ["-c", KEEPER_PROGRAM, "remote_runtime.keeper", reference],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environ,
        **detached_popen_args(),
    )


def prestart(arguments: Sequence[str]) -> None:
    """One for each profile that an `up` with these arguments is sure to bring up, whatever else they say."""
    if any(word.startswith(OPTIONS_WITH_VALUE) for word in arguments):
        return
    for word in arguments:
        if not word.startswith("-") and word not in _prestarted:
            with contextlib.suppress(LocalError):  # it is begun again when it is needed, and fails with words then
                _prestarted[word] = start_keeper(word)


def take_prestarted(reference: str) -> subprocess.Popen[bytes] | None:
    """The one that was begun early for this profile, if it waits."""
    return _prestarted.pop(reference, None)


def stop_prestarted(process: subprocess.Popen[bytes]) -> None:
    """One that got no order: it has done nothing yet."""
    process.kill()
    process.communicate()


def stop_all_prestarted() -> None:
    while _prestarted:
        stop_prestarted(_prestarted.popitem()[1])
