"""What commands call a runtime's profile: its name, or the path of its file where the name alone is not found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .. import profiles
from ..core.errors import RemoteRuntimeError, UsageError
from ..profiles.search_path import find, is_path
from ..state import store


def reference_of(name: str, state: store.StateDir, environ: Mapping[str, str]) -> str:
    """``name``, unless it was brought up last by the path of a file that the name does not mean. A path stays one."""
    path = "" if is_path(name) else _path_of(name, state)
    if not path or not os.path.isfile(path):
        return name
    try:
        meant = find(name, environ, Path.cwd())[1]
    except UsageError:
        return path
    return name if os.path.samefile(meant, path) else path


def file_of(name: str, state: store.StateDir) -> str:
    """The file that a runtime was brought up from, for a command that names no profile: whatever else has its name,
    such as a file in ``./profiles``, was not meant. Raises ``UsageError`` ``profile-not-found`` when none is known."""
    path = _path_of(name, state)
    if not path or not os.path.isfile(path):
        what, why = f"The profile of {name} is gone", path or f"no file is known that {name} was brought up from"
        raise UsageError("profile-not-found", what, why, f"Name the profile: `remote-runtime down {name}`")
    return path


def spoken(text: str, name: str, state: store.StateDir, environ: Mapping[str, str]) -> str:
    """``text`` with commands that work as they stand."""
    return profiles.by_path(text, reference_of(name, state, environ)) if "remote-runtime" in text else text


def _path_of(name: str, state: store.StateDir) -> str:
    try:
        runtime = store.load(state, name)
    except RemoteRuntimeError:
        runtime = None
    return runtime.profile_path if runtime is not None else store.remembered(state, name).profile_path
