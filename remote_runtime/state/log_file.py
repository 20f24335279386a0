"""The log of a keeper: rotated, private, and without secrets whatever a library writes into it."""

from __future__ import annotations

import logging
import logging.handlers
import os
from io import TextIOWrapper
from pathlib import Path

from ..core.private_file import open_private
from ..core.sanitize import clean
from ..core.sanitize import redact as redact

MAX_LOG_BYTES = 1 << 20
MAX_OLD_LOGS = 2


class _PrivateFileHandler(logging.handlers.RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", opener=open_log)


class _RedactingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def open_log(path: str | Path, flags: int) -> int:
    """To append to a file of ours; another name of a file elsewhere gives way to a new one. Raises ``OSError``."""
    descriptor = open_private(path, flags | os.O_CREAT)
    if os.fstat(descriptor).st_nlink > 1:
        os.close(descriptor)
        os.unlink(path)
        descriptor = open_private(path, flags | os.O_CREAT)
    return descriptor


def last_line(path: Path) -> str:
    """The last line that says something, at most 300 characters, without secrets; empty when there is none."""
    return next((line[:300] for line in reversed(tail(path, 50)) if line.strip()), "")


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of the log, without secrets; none when there is no log."""
    try:
        with os.fdopen(open_private(path, os.O_RDONLY), "rb") as file:
            start = max(0, path.stat().st_size - 512 * lines)
            file.seek(start)
            if start:
                file.readline()  # half a line could be half a secret
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    # A key takes several lines, and is known by its first one.
    return [clean(line, 2000) for line in redact(text).splitlines()[-lines:]]


def append_private(path: Path, text: str) -> None:
    """Add to the end of a file that only its owner may read."""
    with open(path, "a", encoding="utf-8", opener=open_log) as file:
        file.write(text)


def log_to_file(path: Path) -> None:
    """Everything this process logs goes to the file (0600), rotated at 1 MiB, two old ones kept."""
    handler = _PrivateFileHandler(path, maxBytes=MAX_LOG_BYTES, backupCount=MAX_OLD_LOGS)
    handler.setFormatter(_RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("paramiko").setLevel(logging.WARNING)
