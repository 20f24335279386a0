"""What a keeper is begun for, handed to it on its stdin by the command that began it (see ``spawning``)."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
from typing import Any, BinaryIO

from ..core.fast_dataclass import fast_dataclass
from ..core.model import Profile


@fast_dataclass(frozen=True)
class LaunchRequest:
    """``message``: what the command says to a keeper that lives already. ``profile``: as the command has read it, in
    ``profile_text`` as YAML, so that the keeper does not have to read it again."""

    message: dict[str, Any]
    profile: Profile
    profile_text: str


def send(process: subprocess.Popen[bytes], request: LaunchRequest) -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError), process.stdin:  # it has ended, and says why
            pickle.dump(request, process.stdin)


def receive(stdin: BinaryIO) -> LaunchRequest | None:
    """In the keeper; None when it gets none."""
    try:
        request = pickle.load(stdin)  # noqa: S301  # from the command that began this process, through its own pipe
    except EOFError:
        return None
    if not isinstance(request, LaunchRequest):
        raise TypeError(f"{type(request)} is no errand")
    return request
