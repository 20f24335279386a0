"""Installs the bridge in the Jupyter of an environment of the user's, removes it, and checks it."""

from __future__ import annotations

import errno
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ... import bridge
from ...core.errors import MachineError
from ...core.fast_dataclass import fast_dataclass
from .files import has_content, install, is_current, is_writable, remove, version_in
from .probe import probe_environment
from .servers import ServerStatus, check_running_servers, check_server


@fast_dataclass(frozen=True)
class Enabled:
    """What ``enable`` installed or ``disable`` removed. ``changed``: False if there was nothing to do."""

    python: str
    version: str
    package: str
    config_files: tuple[str, ...]
    changed: bool


@fast_dataclass(frozen=True)
class BridgeStatus:
    """``installed``: the version in the environment, or None. ``servers``: those that were checked."""

    python: str
    installed: str | None
    enabled: bool
    jupyter_server: str | None
    notebook: str | None
    servers: tuple[ServerStatus, ...]


def default_python() -> str:
    """This interpreter if its environment has Jupyter, else the ``python3`` on PATH."""
    from importlib.util import find_spec

    if find_spec("jupyter_server") or find_spec("notebook"):
        return sys.executable
    return shutil.which("python3") or sys.executable


def enable(python: str) -> Enabled:
    """Copy the bridge into the environment of ``python``; its Jupyter loads it when it starts.

    Raises ``MachineError``: ``python-missing``, ``jupyter-missing``, ``environment-read-only``, ``disk-full``,
    ``machine-answer-invalid``.
    """
    environment = probe_environment(python)
    location = next(
        (place for place in environment.locations if is_writable(place.site) and is_writable(place.config)), None
    )
    if location is None:
        where = " nor ".join(str(place.site) for place in environment.locations)
        raise MachineError(
            "environment-read-only", f"Can't write to the environment of {environment.python}", f"not {where}"
        )
    with _translate_errors(location.site):
        files = location.config_files(classic=environment.classic)
        changed = not is_current(location.package) or not all(
            has_content(file, content) for file, content in files.items()
        )
        if changed:
            install(location, files)
    return Enabled(environment.python, bridge.__version__, str(location.package), tuple(map(str, files)), changed)


def disable(python: str) -> Enabled:
    """Remove what ``enable`` installed, and nothing else. Raises as ``enable``, but not ``jupyter-missing``."""
    environment = probe_environment(python, needs_jupyter=False)
    removed: list[Path] = []
    for location in environment.locations:
        with _translate_errors(location.site):
            removed += remove(location)
    packages = [place.package for place in environment.locations]
    package = next((each for each in removed if each in packages), packages[0])
    files = tuple(str(file) for file in removed if file not in packages)
    return Enabled(environment.python, bridge.__version__, str(package), files, bool(removed))


def status(python: str, url: str | None = None) -> BridgeStatus:
    """What is installed, and whether the environment's running servers (or the one at ``url``) have loaded it.

    Raises as ``enable``, and ``UsageError`` for an invalid URL.
    """
    environment = probe_environment(python, needs_jupyter=False)
    location = next((place for place in environment.locations if (place.package / "__init__.py").is_file()), None)
    files = location.config_files(classic=environment.classic) if location else {}
    return BridgeStatus(
        python=environment.python,
        installed=version_in(location.package) if location else None,
        enabled=bool(files) and all(has_content(file, content) for file, content in files.items()),
        jupyter_server=environment.jupyter_server,
        notebook=environment.notebook,
        servers=(check_server(url),) if url else check_running_servers(environment.runtime),
    )


@contextmanager
def _translate_errors(site: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        code = "disk-full" if exc.errno == errno.ENOSPC else "environment-read-only"
        raise MachineError(code, f"Can't change {site}", exc.strerror or str(exc)) from exc
