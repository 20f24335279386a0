"""Notebook files (nbformat 4): read, and written with new outputs. All else in them stays as it is."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import LocalError

MAX_NOTEBOOK_BYTES = 512 << 20
_LINE_TYPES = ("application/javascript", "image/svg+xml")  # beside text, as nbformat writes them


def read_notebook(path: Path) -> dict[str, Any]:
    """Raises ``LocalError`` ``code-unreadable``."""
    try:
        if path.stat().st_size > MAX_NOTEBOOK_BYTES:
            raise LocalError("code-unreadable", f"{path} is larger than {MAX_NOTEBOOK_BYTES >> 20} MiB")
        notebook = json.loads(path.read_bytes())
    except OSError as error:
        raise LocalError("code-unreadable", f"Can't read {path}", error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise LocalError("code-unreadable", f"{path} is no notebook", str(error)) from error
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or not all(map(_is_cell, cells)) or notebook.get("nbformat") != 4:
        raise LocalError("code-unreadable", f"{path} is no notebook of nbformat 4")
    return dict(notebook)


def write_notebook_file(path: Path, notebook: Mapping[str, Any]) -> None:
    """Replace the file, or the one that it links to, and keep its mode; a new one gets 0600. Raises ``LocalError``
    ``notebook-not-written``."""
    content = json.dumps(notebook, indent=1, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
    try:
        path = path.resolve()
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(mode)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise LocalError("notebook-not-written", f"Can't write {path}", error.strerror or str(error)) from error


def source_of(cell: Mapping[str, Any]) -> str:
    source = cell.get("source", "")
    return "".join(map(str, source)) if isinstance(source, list) else str(source)


def tags_of(cell: Mapping[str, Any]) -> tuple[str, ...]:
    metadata = cell.get("metadata")
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    return tuple(map(str, tags)) if isinstance(tags, list) else ()


def kernelspec_of(notebook: Mapping[str, Any]) -> str:
    """Empty if it names none."""
    metadata = notebook.get("metadata")
    spec = metadata.get("kernelspec") if isinstance(metadata, dict) else None
    return str(spec.get("name") or "") if isinstance(spec, dict) else ""


def stored_output(output: Mapping[str, Any]) -> dict[str, Any]:
    """``output`` with its texts as lists of lines, as nbformat stores them."""
    stored = dict(sorted(output.items()))
    if isinstance(stored.get("text"), str):
        stored["text"] = stored["text"].splitlines(keepends=True)
    if isinstance(stored.get("data"), dict):
        stored["data"] = {
            name: value.splitlines(keepends=True)
            if isinstance(value, str) and (name.startswith("text/") or name in _LINE_TYPES)
            else value
            for name, value in stored["data"].items()
        }
    return stored


def _is_cell(cell: object) -> bool:
    return isinstance(cell, dict) and isinstance(cell.get("cell_type"), str)
