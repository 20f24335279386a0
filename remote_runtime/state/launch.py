"""The process of a keeper: begun for a profile, and told later what to do.

A command line that says `up PROFILE` begins it before it imports what it needs itself: both import at the same time
then.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping, Sequence

from ..core.errors import LocalError
from ..core.subprocesses import SAFELY, detached, python

RUN = SAFELY + "from remote_runtime.keeper.__main__ import main; sys.exit(main())"
WITH_A_VALUE = ("--port", "--port-forward", "--timeout")

_begun: dict[str, subprocess.Popen[bytes]] = {}


def begin(reference: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A keeper that waits for its ``errand`` and ends when it gets none. What it says on stderr before is why it ended.
    ``reference`` is only shown where processes are listed."""
    return python(
        ["-c", RUN, "remote_runtime.keeper", reference],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environ,
        **detached(),
    )


def begin_early(arguments: Sequence[str]) -> None:
    """One for each profile that an `up` with these arguments is sure to bring up, whatever else they say."""
    if any(word.startswith(WITH_A_VALUE) for word in arguments):
        return
    for word in arguments:
        if not word.startswith("-") and word not in _begun:
            with contextlib.suppress(LocalError):  # it is begun again when it is needed, and fails with words then
                _begun[word] = begin(word)


def take(reference: str) -> subprocess.Popen[bytes] | None:
    """The one that was begun early for this profile, if it waits."""
    return _begun.pop(reference, None)


def end(process: subprocess.Popen[bytes]) -> None:
    """One that got no order: it has done nothing yet."""
    process.kill()
    process.communicate()


def end_unused() -> None:
    while _begun:
        end(_begun.popitem()[1])
