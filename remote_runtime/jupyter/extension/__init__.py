"""The bridge in an environment's own Jupyter: put there, taken away, looked for."""

from __future__ import annotations

import errno
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ... import bridge
from ...core.errors import MachineError
from ...core.frozen import dataclass
from .files import is_current, is_writable, put, remove, says, version_in
from .probe import look
from .servers import SeenServer, ask, ask_running


@dataclass(frozen=True)
class Enabled:
    """What `enable` put in place, or `disable` took away. ``changed``: False if everything was so already."""

    python: str
    version: str
    package: str
    config_files: tuple[str, ...]
    changed: bool


@dataclass(frozen=True)
class BridgeStatus:
    """``installed``: the version in the environment, None if it is not there. ``servers``: those that were asked."""

    python: str
    installed: str | None
    enabled: bool
    jupyter_server: str | None
    notebook: str | None
    servers: tuple[SeenServer, ...]


def default_python() -> str:
    """The interpreter that runs us if its environment has Jupyter, else the ``python3`` on PATH."""
    from importlib.util import find_spec

    if find_spec("jupyter_server") or find_spec("notebook"):
        return sys.executable
    return shutil.which("python3") or sys.executable


def enable(python: str) -> Enabled:
    """Copy the bridge into the environment of ``python`` and have its Jupyter load it from the next start on.

    Raises ``MachineError``: ``python-missing``, ``jupyter-missing``, ``environment-read-only``, ``disk-full``,
    ``machine-answer-invalid``.
    """
    found = look(python)
    place = next((place for place in found.places if is_writable(place.site) and is_writable(place.config)), None)
    if place is None:
        where = " nor ".join(str(place.site) for place in found.places)
        raise MachineError(
            "environment-read-only", f"The environment of {found.python} cannot be written", f"not {where}"
        )
    with _writing(place.site):
        files = place.config_files(classic=found.classic)
        changed = not is_current(place.package) or not all(says(file, content) for file, content in files.items())
        if changed:
            put(place, files)
    return Enabled(found.python, bridge.__version__, str(place.package), tuple(map(str, files)), changed)


def disable(python: str) -> Enabled:
    """Take away what ``enable`` put there, and nothing else. Raises as ``enable``, but not ``jupyter-missing``."""
    found = look(python, needs_jupyter=False)
    removed: list[Path] = []
    for place in found.places:
        with _writing(place.site):
            removed += remove(place)
    packages = [place.package for place in found.places]
    package = next((each for each in removed if each in packages), packages[0])
    files = tuple(str(file) for file in removed if file not in packages)
    return Enabled(found.python, bridge.__version__, str(package), files, bool(removed))


def status(python: str, url: str | None = None) -> BridgeStatus:
    """What is there, and what the environment's running servers (or the one at ``url``) say.

    Raises as ``enable``, and ``UsageError`` for a URL that is none. A token is sent to no server that has not proved
    that it knows it.
    """
    found = look(python, needs_jupyter=False)
    place = next((place for place in found.places if (place.package / "__init__.py").is_file()), None)
    files = place.config_files(classic=found.classic) if place else {}
    return BridgeStatus(
        python=found.python,
        installed=version_in(place.package) if place else None,
        enabled=bool(files) and all(says(file, content) for file, content in files.items()),
        jupyter_server=found.jupyter_server,
        notebook=found.notebook,
        servers=(ask(url),) if url else ask_running(found.runtime),
    )


@contextmanager
def _writing(site: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        code = "disk-full" if exc.errno == errno.ENOSPC else "environment-read-only"
        raise MachineError(code, f"{site} cannot be changed", exc.strerror or str(exc)) from exc
