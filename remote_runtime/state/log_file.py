"""The log of a keeper: private, rotated and redacted, whatever libraries log."""

from __future__ import annotations

import logging
import logging.handlers
import os
import re
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path

from ..core.fast_dataclass import fast_dataclass
from ..core.private_file import open_private
from ..core.sanitize import clean
from ..core.sanitize import redact as redact

MAX_LOG_BYTES = 1 << 20
MAX_OLD_LOGS = 2
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
# A time without a zone, as older versions wrote it, is local.
_ENTRY = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]\d{3}(?:[+-]\d\d:\d\d)?) ([A-Z]+) ([\w.]+): (.*)")


class _PrivateFileHandler(logging.handlers.RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", opener=open_log)


class _RedactingFormatter(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # logging's name
        return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def open_log(path: str | Path, flags: int) -> int:
    """An opener for appending. A hard link to a file elsewhere is replaced by a new file. Raises ``OSError``."""
    descriptor = open_private(path, flags | os.O_CREAT)
    if os.fstat(descriptor).st_nlink > 1:
        os.close(descriptor)
        os.unlink(path)
        descriptor = open_private(path, flags | os.O_CREAT)
    return descriptor


def last_line(path: Path) -> str:
    """The last line that is not blank, redacted, at most 300 characters; empty if there is none."""
    return next((line[:300] for line in reversed(tail(path, 50)) if line.strip()), "")


@fast_dataclass(frozen=True)
class LogEntry:
    """``time`` has a time zone. ``level``: a name of ``logging``. ``source``: the logger, often a module."""

    time: datetime
    level: str
    source: str
    text: str


def parse_line(line: str) -> LogEntry | None:
    """None for a line that begins no entry, as of a traceback."""
    match = _ENTRY.fullmatch(line)
    if match is None:
        return None
    try:
        time = datetime.fromisoformat(match[1].replace(",", "."))
    except ValueError:
        return None
    return LogEntry(time.astimezone(), match[2], match[3], match[4])


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of the log, redacted; none if there is no log."""
    try:
        with os.fdopen(open_private(path, os.O_RDONLY), "rb") as file:
            start = max(0, path.stat().st_size - 512 * lines)
            file.seek(start)
            if start:
                file.readline()  # part of a line could be part of a secret
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    # A private key has several lines, and is recognised by its first one.
    return [clean(line, 2000) for line in redact(text).splitlines()[-lines:]] if lines else []


def append_private(path: Path, text: str) -> None:
    """Append to a file of mode 0600."""
    with open(path, "a", encoding="utf-8", opener=open_log) as file:
        file.write(text)


def log_to_file(path: Path) -> None:
    """Log to this file, mode 0600. It is rotated at 1 MiB, and two old ones are kept."""
    handler = _PrivateFileHandler(path, maxBytes=MAX_LOG_BYTES, backupCount=MAX_OLD_LOGS)
    handler.setFormatter(_RedactingFormatter(_FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("paramiko").setLevel(logging.WARNING)
