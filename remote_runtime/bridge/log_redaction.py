"""Removes tokens from the server's logs, its dumps of failed requests and tracebacks included."""

from __future__ import annotations

import io
import logging
import re
import traceback
import weakref
from typing import Any, Callable, Iterable, List, Set
from urllib.parse import quote, quote_plus

HIDDEN = "***"
# Replacing a shorter one everywhere would make logs unreadable; the patterns still hide it in URLs.
_MIN_TOKEN_CHARS = 6
_EQUALS = r"(?:=|%(?:25)*3D)"
_ENDS = r"[^\s&;'\"<>%\\)},]"
_PATTERNS = (
    # token=… in a URL, plain or quoted once or more inside another URL
    re.compile(r"(token" + _EQUALS + r")(?:" + _ENDS + r"|%(?!(?:25)*26))+", re.IGNORECASE),
    re.compile(r"(jupyter_http_over_ws_auth_url=)[^\s&'\"<>]+", re.IGNORECASE),
    re.compile(r"(authorization['\"]?\s*[:=,]\s*b?['\"]?\s*(?:(?:token|bearer|basic)\s+)?)[^\s'\"<>,]+", re.IGNORECASE),
    re.compile(r"(\b(?:token|bearer)\s+)(?=\S*\d)\S{16,}", re.IGNORECASE),
    re.compile(r"(['\"]token['\"]\s*:\s*\[?b?['\"])[^'\"]+", re.IGNORECASE),
    re.compile(r"(_xsrf" + _EQUALS + r")[^\s&;'\"<>]+", re.IGNORECASE),
)


class RedactingFilter(logging.Filter):
    """Redacts every record. ``token`` is called for each."""

    def __init__(self, token: Callable[[], str], shows_banner: Callable[[], bool]) -> None:
        super().__init__()
        self._token = token
        self._shows_banner = shows_banner

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.CRITICAL and self._shows_banner():
            # A server that generated its token shows it to the user at the terminal this way, once.
            return True
        token = self._token()
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            # logging itself reports a record with wrong arguments, arguments included.
            message = f"{record.msg} {record.args!r}"
        hidden = redact(message, token)
        if hidden != message:
            record.msg, record.args = hidden, ()
        _redact_traceback(record, token)
        props = getattr(record, "props", None)
        if isinstance(props, dict):
            record.props = {name: _redact_value(value, token) for name, value in props.items()}
        return True


def redact(text: str, token: str) -> str:
    """The text without the token, plain or quoted as in URLs, and without anything that looks like a token."""
    if len(token) >= _MIN_TOKEN_CHARS:
        for spelling in {token, quote(token, safe=""), quote_plus(token), quote(quote(token, safe=""), safe="")}:
            text = text.replace(spelling, HIDDEN)
    for pattern in _PATTERNS:
        text = pattern.sub(r"\1" + HIDDEN, text)
    return text


def install(loggers: Iterable[logging.Logger], redacting: logging.Filter, owner: object) -> None:
    """Add the filter to the loggers and to every handler that their records can reach, as long as ``owner`` exists: a
    process can run one server after another with the same loggers.

    A logger's filter does not see its children's records; a handler's filter sees everything that it prints.
    """
    filtered: Set[Any] = set()
    for logger in loggers:
        filtered.update([logger, *_handlers(logger)])
    if logging.lastResort is not None:
        filtered.add(logging.lastResort)
    for target in filtered:
        target.addFilter(redacting)
    weakref.finalize(owner, _remove, filtered, redacting).atexit = False


def _remove(filtered: Set[Any], redacting: logging.Filter) -> None:
    for target in filtered:
        target.removeFilter(redacting)


def _handlers(logger: logging.Logger) -> List[logging.Handler]:
    found: List[logging.Handler] = []
    current: "logging.Logger | None" = logger
    while current is not None:
        found += current.handlers
        current = current.parent if current.propagate else None
    return found


def _redact_traceback(record: logging.LogRecord, token: str) -> None:
    if record.exc_info and not isinstance(record.exc_info, bool) and record.exc_info[0] is not None:
        text = io.StringIO()
        traceback.print_exception(*record.exc_info, file=text)
        printed = text.getvalue().rstrip("\n")
        hidden = redact(printed, token)
        if hidden != printed:
            # Formatters print exc_text only if there is no exc_info.
            record.exc_text, record.exc_info = hidden, None
    elif record.exc_text:
        record.exc_text = redact(record.exc_text, token)
    if record.stack_info:
        record.stack_info = redact(record.stack_info, token)


def _redact_value(value: Any, token: str) -> Any:
    return redact(value, token) if isinstance(value, str) else value
