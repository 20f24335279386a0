"""Saves images and HTML that code displays. The machine has no part in their names."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import LocalError
from ..core.private_file import open_private

SUFFIXES = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/svg+xml": "svg",
    "application/pdf": "pdf",
    "text/html": "html",
}
TEXTS = ("image/svg+xml", "text/html")
MAX_FILES = 100_000


class KeptOutputs:
    """Files ``output-1.png``, … in ``folder``, which is made when it is needed; None: nothing is saved."""

    def __init__(self, folder: Path | None) -> None:
        self.paths: list[Path] = []
        self._folder = folder
        self._number = 0

    def keep(self, data: Mapping[str, Any]) -> str:
        """Save what a display has; what was saved, in words. Raises ``LocalError`` ``output-not-written``."""
        if self._folder is None:
            return ""
        found = {kind: ending for kind, ending in SUFFIXES.items() if kind in data}
        if not found:
            return ""
        saved = []
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for kind, ending in found.items():
                saved.append(self._write(self._folder, _content(kind, data[kind]), ending))
        except OSError as error:
            raise LocalError(
                "output-not-written", f"Can't write to {self._folder}", error.strerror or str(error)
            ) from error
        self.paths += saved
        return f"Saved {', '.join(map(str, saved))}"

    def _write(self, folder: Path, content: bytes, ending: str) -> Path:
        while self._number < MAX_FILES:
            self._number += 1
            path = folder / f"output-{self._number}.{ending}"
            try:
                descriptor = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                continue
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            return path
        raise OSError(f"it has {MAX_FILES} outputs already")


def _content(kind: str, value: Any) -> bytes:
    text = "".join(map(str, value)) if isinstance(value, list) else str(value)
    if kind in TEXTS:
        return text.encode("utf-8", "replace")
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        return text.encode("utf-8", "replace")
