"""Finds the profile of a runtime by its name, or by the path of the file that it was brought up from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .. import profiles
from ..core.errors import UsageError
from ..core.profile import Profile
from ..profiles.search_path import find_profile, is_path
from ..state import store
from .context import CommandContext


def profile_reference(name: str, state: store.StateDir, environ: Mapping[str, str]) -> str:
    """``name``, or the path that it was last brought up from if the name does not find that file. A path stays as it
    is."""
    path = "" if is_path(name) else _last_profile_path(name, state)
    if not path or not os.path.isfile(path):
        return name
    try:
        found = find_profile(name, environ, Path.cwd())[1]
    except UsageError:
        return path
    return name if os.path.samefile(found, path) else path


def load_profile(name: str, context: CommandContext) -> Profile:
    """The profile that ``name`` means now. Raises as ``profiles.load``."""
    return profiles.load(profile_reference(name, context.state, context.environ), environ=context.environ)


def profile_file(name: str, state: store.StateDir) -> str:
    """The file that a runtime was brought up from, whatever the name means now: for commands that name no profile.
    Raises ``UsageError`` ``profile-not-found`` when it is unknown or gone."""
    path = _last_profile_path(name, state)
    if not path or not os.path.isfile(path):
        what, why = f"The profile of {name} is gone", path or f"no file is known that {name} was brought up from"
        raise UsageError("profile-not-found", what, why, f"Name the profile: `remote-runtime down {name}`")
    return path


def _last_profile_path(name: str, state: store.StateDir) -> str:
    runtime = store.load_if_readable(state, name)
    return runtime.profile_path if runtime is not None else store.load_last_run(state, name).profile_path
