"""Start the keeper of a runtime: a process of its own, which gets one ``LaunchRequest`` on its stdin.

`up PROFILE` starts it before it imports what it needs itself, so that both processes import at the same time: the URL
comes after 0.75 s instead of 0.93 s (``scripts/bench up``, medians of 16 rounds on two cores).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Mapping
from typing import Any, BinaryIO

from ..core.codec import from_json, to_json
from ..core.errors import LocalError
from ..core.fast_dataclass import fast_dataclass
from ..core.move import UpConsent
from ..core.profile import Profile
from ..core.subprocesses import ISOLATED_SYS_PATH, detached_popen_args, start_python

# Importing makes many objects and no garbage: with Python's own threshold (700 objects) a fifth of the time goes to
# looking for it.
KEEPER_PROGRAM = (
    ISOLATED_SYS_PATH
    + "import gc; gc.set_threshold(20_000, 50); from remote_runtime.keeper.__main__ import main; sys.exit(main())"
)

_prestarted: dict[str, subprocess.Popen[bytes]] = {}


@fast_dataclass(frozen=True)
class LaunchRequest:
    """``profile``: with ``overrides``, the options of the command line that take precedence (``port``, ``extra``).
    ``profile_text``: the same as YAML, without secrets. ``timeout_s``: for the whole `up`; None for the profile's own
    limits. ``consent``: what the user agrees to."""

    profile: Profile
    profile_text: str
    overrides: Mapping[str, Any]
    timeout_s: float | None = None
    consent: UpConsent = UpConsent()


def start_keeper(reference: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A keeper that waits for its request, and ends when its stdin is closed without one. Its stderr says why it ended
    before it had a log. ``reference`` is the profile's name or path, for lists of processes. Raises ``LocalError``."""
    return start_python(
        ["-c", KEEPER_PROGRAM, "remote_runtime.keeper", reference],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environ,
        **detached_popen_args(),
    )


def prestart(reference: str) -> None:
    """Start the keeper of this profile; ``take_prestarted`` hands it out, ``stop_prestarted`` ends it."""
    with contextlib.suppress(LocalError):  # `up` tries again, and reports what fails
        _prestarted[reference] = start_keeper(reference)


def take_prestarted(reference: str) -> subprocess.Popen[bytes] | None:
    return _prestarted.pop(reference, None)


def stop_prestarted() -> None:
    """End the keepers that no command used: they have done nothing yet."""
    while _prestarted:
        _, process = _prestarted.popitem()
        process.kill()
        process.communicate()


def send(process: subprocess.Popen[bytes], request: LaunchRequest) -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError), process.stdin:  # it has ended, and its stderr says why
            process.stdin.write(json.dumps(to_json(request)).encode())


def receive(stdin: BinaryIO) -> LaunchRequest | None:
    """In the keeper: its request, None if there is none."""
    document = stdin.read()
    return from_json(LaunchRequest, json.loads(document)) if document else None
