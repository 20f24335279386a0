"""The folders in which profiles are looked up, and the names that they may have.

``NAME.yaml`` is taken from the first of these that has it:

1. ``environment``: each folder of ``$REMOTE_RUNTIME_PROFILES`` (separated by ``os.pathsep``)
2. ``user``: ``profiles/`` in ``$REMOTE_RUNTIME_CONFIG_DIR``, else in the user's config directory
3. ``packaged``: the ready ones that come with the program
4. ``directory``: ``./profiles/``; last, so that a cloned repository cannot redefine a name that is in use
"""

from __future__ import annotations

import filecmp
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from ..core.display_path import display_path
from ..core.errors import UsageError
from ..core.fast_dataclass import fast_dataclass
from .validation_errors import did_you_mean, quoted

BUILT_IN = "built in"

Origin = Literal["environment", "user", "packaged", "directory"]

_SUFFIXES = (".yaml", ".yml")
# Windows keeps these for devices, with any ending; refused everywhere, so that a profile works everywhere.
_RESERVED = re.compile("(?i)(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\\..*)?")


@fast_dataclass(frozen=True)
class SearchDir:
    origin: Origin
    path: Path


def search_dirs(environ: Mapping[str, str], cwd: Path) -> tuple[SearchDir, ...]:
    """All folders, in the order of the look-up; some may be missing."""
    folders = [part for part in environ.get("REMOTE_RUNTIME_PROFILES", "").split(os.pathsep) if part]
    return (
        *(SearchDir("environment", cwd / folder) for folder in folders),
        SearchDir("user", user_dir(environ, cwd)),
        SearchDir("packaged", packaged_dir()),
        SearchDir("directory", cwd / "profiles"),
    )


def packaged_dir() -> Path:
    """The folder of the ready profiles: inside an installed package, beside it in the source tree."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "ready_profiles"
    return (
        installed if installed.is_dir() or not (package.parent / "setup.cfg").is_file() else package.parent / "profiles"
    )


def is_packaged(path: Path) -> bool:
    """Whether the file comes with the program."""
    return path.parent.resolve() == packaged_dir().resolve()


def source(path: Path) -> str:
    """Where a profile comes from, for people."""
    return BUILT_IN if is_packaged(path) else display_path(path)


def user_dir(environ: Mapping[str, str], cwd: Path) -> Path:
    """The folder of the user's own profiles; it may be missing."""
    return cwd / _config_dir(environ) / "profiles"


def find_profile(name_or_path: str, environ: Mapping[str, str], cwd: Path) -> tuple[str, Path]:
    """The name and the file of a profile. Raises ``UsageError`` ``profile-not-found``, or ``profile-invalid`` for a
    name that cannot be one."""
    if is_path(name_or_path):
        path = cwd / name_or_path
        # Unlike Path.is_file, this answers False for names that the system refuses and unreadable folders.
        if not os.path.isfile(path):
            raise _not_found_error(
                f"Profile {quoted(name_or_path)} not found", "No such file", name_or_path, environ, cwd
            )
        _check_file_name(name_or_path, path)
        return path.stem, path
    why = name_error(name_or_path)
    if why:
        hint = "`remote-runtime profiles list` shows all profiles; a path works too, such as `./my-vm.yaml`"
        raise UsageError("profile-invalid", f"Invalid profile name {quoted(name_or_path)}", why, hint)
    searched = search_dirs(environ, cwd)
    for search_dir in searched:
        path = search_dir.path / f"{name_or_path}.yaml"
        if os.path.isfile(path):
            return name_or_path, path
    folders = ", ".join(dict.fromkeys(_shown(place) for place in searched))
    raise _not_found_error(
        f"Profile {quoted(name_or_path)} not found", f"Searched: {folders}", name_or_path, environ, cwd
    )


def profile_files(environ: Mapping[str, str], cwd: Path) -> Iterator[tuple[SearchDir, Path]]:
    """Every ``*.yaml`` of every folder, each file once, in the order of the look-up. Copies of built-in files in
    ``./profiles/`` are left out: a clone of this project has them."""
    seen: set[Path] = set()
    for search_dir in search_dirs(environ, cwd):
        try:
            paths = [path for path in search_dir.path.iterdir() if path.suffix == ".yaml" and os.path.isfile(path)]
        except OSError:
            continue  # A folder that is missing or unreadable holds no profiles.
        for path in sorted(paths, key=lambda path: path.stem):
            if path.resolve() not in seen and not (search_dir.origin == "directory" and _is_packaged_copy(path)):
                seen.add(path.resolve())
                yield search_dir, path


def is_path(name_or_path: str) -> bool:
    separators = "/" + os.sep + (os.altsep or "")
    return name_or_path.endswith(_SUFFIXES) or any(separator in name_or_path for separator in separators)


def name_error(name: str) -> str:
    """Why ``name`` cannot be a profile's name; empty if it can."""
    if not re.fullmatch("[A-Za-z0-9._-]+", name):
        return "expected only letters, digits, `.`, `_` and `-`"
    if len(name) > 64:
        return f"expected at most 64 characters, got {len(name)}"
    if name[0] in ".-" or name[-1] == ".":
        return "expected a letter, a digit or `_` at the start, and no `.` at the end"
    if _RESERVED.fullmatch(name):
        return "Windows reserves this name for a device"
    return ""


def _is_packaged_copy(path: Path) -> bool:
    packaged = packaged_dir() / path.name
    try:
        return packaged.is_file() and filecmp.cmp(packaged, path, shallow=False)
    except OSError:
        return False  # One of them is unreadable, so its problem is to be reported.


def _check_file_name(reference: str, path: Path) -> None:
    why = name_error(path.stem)
    if not why:
        return
    plain = re.sub("[^A-Za-z0-9._-]+", "-", path.stem)[:60].strip(".-")
    better = str(Path(reference).with_name(f"{plain if plain and not name_error(plain) else 'my-vm'}.yaml"))
    if not os.path.isabs(better) and os.sep not in better:
        better = os.path.join(".", better)
    hint = f"Rename the file: `mv {shlex.quote(reference)} {shlex.quote(better)}`"
    raise UsageError("profile-invalid", f"The file name {quoted(path.name)} is not a valid profile name", why, hint)


def _not_found_error(what: str, why: str, reference: str, environ: Mapping[str, str], cwd: Path) -> UsageError:
    names = sorted({path.stem for _, path in profile_files(environ, cwd)})
    close = did_you_mean(Path(reference).stem, names)
    hint = "`remote-runtime profiles list` shows all profiles"
    close = close[:1].upper() + close[1:].replace("`", "")  # backticks in a hint are for commands
    return UsageError("profile-not-found", what, why, f"{close} {hint}" if close else hint)


def _shown(folder: SearchDir) -> str:
    return "the built-in profiles" if folder.origin == "packaged" else display_path(folder.path)


def _config_dir(environ: Mapping[str, str]) -> Path:
    override = environ.get("REMOTE_RUNTIME_CONFIG_DIR")
    if override:
        return Path(override)
    import platformdirs

    return platformdirs.user_config_path("remote-runtime", appauthor=False)
