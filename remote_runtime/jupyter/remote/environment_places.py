"""The folders in which environments may be: what conda, uv, pixi, virtualenvwrapper, pyenv, poetry and pipenv write."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping

from . import processes
from .python_candidates import conda_roots

AUTO = "auto"
MAX_ENTRIES = 500
# Where environments of a project are. pixi's are one level below the third.
PROJECT_FOLDERS = (".venv", "venv", "env")
PIXI_ENVIRONMENTS = os.path.join(".pixi", "envs")
# File systems whose server can be away. Source: proc(5), /proc/PID/mountinfo; "fuse.sshfs" and others of FUSE.
NETWORK_TYPES = re.compile(r"nfs\d?|cifs|smb3?|smbfs|afs|9p|ceph|lustre|glusterfs|autofs|beegfs|gpfs|fuse(?:\..+)?")


def find_prefixes(place: str, working_dir: str, env: Mapping[str, str]) -> Iterator[str]:
    """Possible environments: those of a login if ``place`` is ``auto``, else the folder and the folders in it."""
    if place != AUTO:
        yield place
        yield from _project(place)
        yield from subfolders(place)
        return
    home = os.path.expanduser("~")
    mounts = NetworkMounts(processes.read_text("/proc/self/mountinfo"), home)
    working_dir = os.path.realpath(os.path.expanduser(working_dir))
    for prefix in _known(working_dir, home, env):
        if not mounts.has(prefix):
            yield prefix
    for folder in _folders(home, env):
        if not mounts.has(folder):
            yield from (path for path in subfolders(folder) if not mounts.has(path))
    yield from _project(working_dir)
    for folder in subfolders(working_dir):
        if not os.path.basename(folder).startswith(".") and not mounts.has(folder):
            yield folder
            yield from _project(folder)


def subfolders(folder: str) -> list[str]:
    """Links to folders too, sorted; ``MAX_ENTRIES`` entries are read at most. No link is followed."""
    try:
        with os.scandir(folder) as entries:
            listed = list(itertools.islice(entries, MAX_ENTRIES))
            return sorted(entry.path for entry in listed if entry.is_symlink() or entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


class NetworkMounts:
    """Folders of network file systems, except that of ``home``, which the login needs anyway."""

    def __init__(self, mountinfo: str, home: str) -> None:
        rows = [line.split() for line in mountinfo.splitlines()]
        points = [
            row[4].replace("\\040", " ")
            for row in rows
            if "-" in row and NETWORK_TYPES.fullmatch(row[row.index("-") + 1]) and len(row) > 4
        ]
        home = os.path.realpath(home)
        self._points = [point for point in points if not _is_below(home, point)]

    def has(self, path: str) -> bool:
        """By the path's text, as asking the file system could take forever; of a link, by its target's."""
        paths = [path]
        if self._points and not self._is_on_one(path) and os.path.islink(path):
            paths.append(os.path.join(os.path.dirname(path), os.readlink(path)))
        return any(map(self._is_on_one, paths))

    def _is_on_one(self, path: str) -> bool:
        return any(_is_below(os.path.normpath(path), point) for point in self._points)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _known(working_dir: str, home: str, env: Mapping[str, str]) -> Iterator[str]:
    """Environments by their own path."""
    listed = processes.read_text(os.path.join(home, ".conda", "environments.txt"), errors="surrogateescape")
    yield from (line.strip() for line in listed.splitlines() if os.path.isabs(line.strip()))
    yield from conda_roots(env)
    yield from (env[name] for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if env.get(name))
    if env.get("UV_PROJECT_ENVIRONMENT"):
        yield os.path.join(working_dir, os.path.expanduser(env["UV_PROJECT_ENVIRONMENT"]))


def _folders(home: str, env: Mapping[str, str]) -> Iterator[str]:
    """Folders of environments."""
    yield from (os.path.join(root, "envs") for root in conda_roots(env))
    for name in ("CONDA_ENVS_PATH", "CONDA_ENVS_DIRS"):
        yield from filter(None, env.get(name, "").split(os.pathsep))
    yield env.get("WORKON_HOME") or os.path.join(home, ".virtualenvs")
    share = env.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    cache = env.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    yield from (os.path.join(share, "virtualenvs"), os.path.join(cache, "pypoetry", "virtualenvs"))
    for version in subfolders(os.path.join(env.get("PYENV_ROOT") or os.path.join(home, ".pyenv"), "versions")):
        yield os.path.join(version, "envs")


def _project(folder: str) -> Iterator[str]:
    yield from (os.path.join(folder, name) for name in PROJECT_FOLDERS)
    yield from subfolders(os.path.join(folder, PIXI_ENVIRONMENTS))
