"""Starts the agent: ``{"listen": "unix" | "tcp"}``; replies with ``address`` and ``secret``."""

from __future__ import annotations

import os
from typing import Any, TextIO

from ...launcher.remote.reply import ClientGone, ReplyWriter, ReportedError
from .server import Listener, start_detached

_SECRET_BYTES = 32


def run(request: dict[str, Any], stream: TextIO) -> int:
    """Returns the exit status; writes the replies to ``stream``."""
    reply = ReplyWriter(request["marker"], stream, request["within_s"])
    try:
        try:
            reply.result(start(unix=request["listen"] == "unix"))
        except ReportedError as failure:
            reply.error(failure.error)
            return 1
    except ClientGone:
        return 1
    return 0


def start(*, unix: bool) -> dict[str, Any]:
    if not hasattr(os, "fork"):
        raise ReportedError("agent-did-not-start", "Files can't be copied with this machine", "it has no `fork`")
    try:
        listener = Listener(unix=unix)
        secret = os.urandom(_SECRET_BYTES)
        start_detached(listener, secret)
    except OSError as exc:
        why = f"{exc.filename}: {exc.strerror}" if exc.filename else exc.strerror or str(exc)
        raise ReportedError("agent-did-not-start", "The agent for files does not start on the machine", why) from exc
    return {"address": listener.address, "secret": secret.hex()}
