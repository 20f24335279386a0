"""The log of a keeper: rotated, private, and without secrets whatever a library writes into it."""

from __future__ import annotations

import logging
import logging.handlers
import os
import re
from io import TextIOWrapper
from pathlib import Path

from .untrusted import clean

LARGEST = 1 << 20
KEPT = 2
# Before the secret: its name, quotes (escaped ones too, of JSON inside JSON), and = or : (also URL-encoded).
_NAMED = r"(?:token|_xsrf|password|passphrase)[\\'\"]*\s*(?:[=:]|%(?:25)*3d)\s*[\\'\"]*"
_HEADER = r"authorization[\\'\"]*\s*[=:]\s*[\\'\"]*(?:(?:token|bearer|basic)\s+)?"
SECRETS = re.compile(rf"(?i)({_HEADER}|{_NAMED}|bearer\s+)[^\s&'\"]+")


class _Private(logging.handlers.RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600))


class _Redacting(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def redacted(text: str) -> str:
    """``text`` with what follows ``token=`` and its like replaced by ``***``."""
    return SECRETS.sub(r"\1***", text)


def last_line(path: Path) -> str:
    """The last line that says something, at most 300 characters, without secrets; empty when there is none."""
    return next((line[:300] for line in reversed(tail(path, 50)) if line.strip()), "")


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of the log, without secrets; none when there is no log."""
    try:
        with path.open("rb") as file:
            skipped = max(0, path.stat().st_size - 512 * lines)
            file.seek(skipped)
            if skipped:
                file.readline()  # half a line could be half a secret
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return [clean(redacted(line), 2000) for line in text.splitlines()[-lines:]]


def append_private(path: Path, text: str) -> None:
    """Add to the end of a file that only its owner may read."""
    with open(path, "a", encoding="utf-8", opener=lambda at, flags: os.open(at, flags, 0o600)) as file:
        file.write(text)


def keep_log(path: Path) -> None:
    """Everything this process logs goes to the file (0600), rotated at 1 MiB, two old ones kept."""
    handler = _Private(path, maxBytes=LARGEST, backupCount=KEPT)
    handler.setFormatter(_Redacting("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("paramiko").setLevel(logging.WARNING)
