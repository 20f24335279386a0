"""Keeps the client's health checks out of the server's log: some of them have to be refused."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any, Callable, Optional

from tornado.httputil import HTTPServerRequest

# The client's health checks send this header: they look like a page's requests, and are neither counted nor logged.
HEADER = "X-Remote-Runtime"


class _Check:
    """A health check. It is over when the response is complete: what it started is logged afterwards."""

    is_running = True


# Each request is handled in a context of its own, which the tasks that it starts inherit.
_current: "ContextVar[Optional[_Check]]" = ContextVar("remote_runtime_check", default=None)


def begin(request: HTTPServerRequest) -> bool:
    """To be called before the request is handled. Returns whether it is a health check."""
    check = _Check() if HEADER in request.headers else None
    _current.set(check)
    return check is not None


def end() -> None:
    """To be called when the response is complete."""
    check = _current.get()
    if check is not None:
        check.is_running = False


def without_checks(log_request: Callable[[Any], None]) -> Callable[[Any], None]:
    """The application's ``log_function``, which tornado calls at the end of each request."""

    def log_and_end(handler: Any) -> None:
        log_request(handler)
        end()

    return log_and_end


class CheckFilter(logging.Filter):
    """Drops what a health check logs, except errors."""

    def filter(self, record: logging.LogRecord) -> bool:
        check = _current.get()
        return record.levelno >= logging.ERROR or check is None or not check.is_running
