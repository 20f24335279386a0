"""`profiles path`, `profiles edit` and `profiles rm`: the file of a profile."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .. import profiles
from ..core.errors import LocalError, UsageError
from ..state import store
from .new_profile import write_schema
from .profile_reference import profile_reference


def profile_path(name: str, state: store.StateDir, environ: Mapping[str, str]) -> tuple[str, Path]:
    """The name and the file of a profile, valid or not. Raises ``UsageError`` as ``profiles.load`` when there is no
    such file."""
    return profiles.find_profile(profile_reference(name, state, environ), environ, Path.cwd())


def own_profile_path(name: str, state: store.StateDir, environ: Mapping[str, str]) -> tuple[str, Path]:
    """``profile_path``. Raises ``UsageError`` ``usage`` for a profile that comes with the program."""
    found, path = profile_path(name, state, environ)
    if profiles.is_packaged(path):
        hint = f"Copy it first: `remote-runtime profiles show {found} > my-{found}.yaml`"
        raise UsageError("usage", f"Profile {found} is built in and read-only", str(path), hint)
    return found, path


def update_schema(path: Path, environ: Mapping[str, str]) -> None:
    """Bring the schema up to date that a profile in the user's own folder names. Raises ``LocalError``
    ``profile-not-written``."""
    user_dir = profiles.user_dir(environ, Path.cwd())
    if path.parent != user_dir:
        return
    try:
        write_schema(user_dir)
    except OSError as error:
        schema = profiles.user_copy(user_dir)
        raise LocalError("profile-not-written", f"Can't write {schema}", error.strerror or str(error)) from error


def remove(name: str, path: Path, state: store.StateDir) -> None:
    """Delete the file. Raises ``UsageError`` ``usage`` while its runtime is running, and ``LocalError``
    ``profile-not-written``."""
    runtime = store.load_if_readable(state, name)
    in_use = runtime is None or not os.path.exists(runtime.profile_path) or os.path.samefile(runtime.profile_path, path)
    if store.is_alive(state, name) and in_use:
        hint = f"Stop it first: `remote-runtime down {name}`"
        raise UsageError("usage", f"Can't remove profile {name}", "Its runtime is running", hint)
    try:
        path.unlink()
    except OSError as error:
        raise LocalError("profile-not-written", f"Can't remove {path}", error.strerror or str(error)) from error
