"""The bridge's files in an environment: installs, compares and removes them."""

from __future__ import annotations

import filecmp
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from ... import bridge
from ...core.sanitize import clean_line
from .probe import MODULE, InstallLocation

_MANIFEST = "installed.json"
_TEMPORARY_PREFIX = f".{MODULE}-"


def install(location: InstallLocation, files: dict[Path, dict[str, Any]]) -> None:
    """Install the package, then the configuration that names it; each appears in one step."""
    made_dirs = [folder for file in files for folder in _make_dirs(file.parent)]
    made_dirs += _make_dirs(location.site) + _recorded_dirs(location.package)
    aside = location.site / f"{_TEMPORARY_PREFIX}{secrets.token_hex(4)}"
    try:
        shutil.copytree(_bridge_dir(), aside, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        (aside / _MANIFEST).write_text(json.dumps({"folders": sorted({str(folder) for folder in made_dirs})}))
        shutil.rmtree(location.package, ignore_errors=True)
        os.replace(aside, location.package)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    for file, content in files.items():
        new = file.with_suffix(".new")
        new.write_text(json.dumps(content, indent=2) + "\n")
        os.replace(new, file)


def remove(location: InstallLocation) -> list[Path]:
    """Remove what the manifest lists, and the folders that were created, if they are empty. Returns what was
    removed."""
    if not (location.package / _MANIFEST).is_file():
        return []
    removed = []
    for file, content in location.config_files(classic=True).items():
        if has_content(file, content):
            file.unlink()
            removed.append(file)
    folders = _recorded_dirs(location.package)
    shutil.rmtree(location.package)
    removed.append(location.package)
    for folder in sorted(folders, key=lambda folder: len(folder.parts), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()) and _is_below(folder, location):
            folder.rmdir()
    return removed


def is_current(package: Path) -> bool:
    names = _modules(_bridge_dir())
    if not (package / _MANIFEST).is_file() or _modules(package) != names:
        return False
    return filecmp.cmpfiles(_bridge_dir(), package, names, shallow=False)[0] == names


def has_content(file: Path, content: dict[str, Any]) -> bool:
    try:
        return bool(json.loads(file.read_text()) == content)
    except (OSError, ValueError):
        return False


def version_in(package: Path) -> str:
    for line in (package / "__init__.py").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("__version__"):
            return clean_line(line.partition("=")[2].strip(" \"'"), 40)
    return "unknown"


def is_writable(folder: Path) -> bool:
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    return existing.is_dir() and os.access(existing, os.W_OK)


def _make_dirs(folder: Path) -> list[Path]:
    """Returns the folders that did not exist."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _recorded_dirs(package: Path) -> list[Path]:
    """The folders that an earlier ``enable`` made, from its manifest."""
    try:
        return [Path(folder) for folder in json.loads((package / _MANIFEST).read_text())["folders"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _is_below(folder: Path, location: InstallLocation) -> bool:
    roots = (location.config.parent, location.config, location.site)
    return any(root == folder or root in folder.parents for root in roots)


def _modules(package: Path) -> list[str]:
    return sorted(path.relative_to(package).as_posix() for path in package.rglob("*.py"))


def _bridge_dir() -> Path:
    return Path(bridge.__file__).parent
