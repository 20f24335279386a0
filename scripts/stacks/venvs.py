"""Virtual environments with other Pythons and other Jupyters, made once and kept in ``.venvs``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENVS = ROOT / ".venvs"
PIP_LIMIT_S = 240.0


class Unavailable(Exception):
    """Why an environment cannot be had on this computer."""


def ensure(name: str, version: str, packages: tuple[str, ...], *, where: Path = VENVS) -> Path:
    """The interpreter of an environment that has Python ``version`` (such as ``3.8``) and the packages.

    Raises ``Unavailable``.
    """
    directory = where / name
    python, stamp = directory / "bin" / "python", directory / "packages"
    wanted = "\n".join((version, *packages))
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    base = find_python(version)
    sys.stderr.write(f"Making {directory} with Python {version} and {' '.join(packages)}\n")
    where.mkdir(parents=True, exist_ok=True)
    (where / ".gitignore").write_text("*\n")
    if find_spec("uv"):  # in seconds, where pip takes a minute
        uv = [sys.executable, "-m", "uv"]
        _run([*uv, "venv", "-q", "--clear", "--python", base, str(directory)])
        _run([*uv, "pip", "install", "-q", "-p", str(python), *packages])
    else:
        _run([base, "-m", "venv", "--clear", str(directory)])
        _run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages])
    stamp.write_text(wanted)
    return python


def find_python(version: str) -> str:
    """The first ``pythonVERSION`` that runs: on PATH, or among pyenv's. Raises ``Unavailable``."""
    found = [shutil.which(f"python{version}"), *_of_pyenv(version)]
    for python in found:
        if python and _is_version(python, version):
            return python
    raise Unavailable(f"there is no python{version} on PATH or among pyenv's")


def _of_pyenv(version: str) -> list[str]:
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    return [str(python) for python in sorted(root.glob(f"versions/{version}.*/bin/python"))]


def _is_version(python: str, version: str) -> bool:
    """pyenv's shims exist for versions that are not active, and fail."""
    code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == version


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PIP_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise Unavailable(f"{' '.join(command[:4])} took longer than {PIP_LIMIT_S:.0f} s") from exc
    if done.returncode != 0:
        raise Unavailable(
            f"{' '.join(command[:4])} failed: {(done.stderr.strip().splitlines() or ['nothing was said'])[-1]}"
        )
