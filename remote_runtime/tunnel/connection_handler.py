"""A connection of a front's that a lane carries."""

from __future__ import annotations

import socket
from typing import Protocol

from ..core.errors import RemoteRuntimeError
from .connection_stats import ConnectionRecord

TOO_MANY_FILES = "this process may not open more files"
TOO_MANY_CONNECTIONS = "too many others are there"


class HandlerOwner(Protocol):
    """What the front does for it."""

    def record_rejection(self, record: ConnectionRecord, why: object, *, files: bool) -> None: ...
    def take_back(
        self, client: socket.socket, record: ConnectionRecord, error: RemoteRuntimeError, *, request_lost: bool
    ) -> None: ...
    def has_upstream(self) -> bool: ...


class PortConnectionHandler:
    """A connection of the front's that a lane carries."""

    def __init__(self, forwarder: HandlerOwner, record: ConnectionRecord) -> None:
        self._forwarder = forwarder
        self._record = record
        self.is_ours = record.is_ours
        self.on_first_bytes = record.on_first_bytes
        self.on_transfer = record.on_transfer

    def on_opened(self) -> None:
        """It is served."""

    def on_over_limit(self, *, files: bool) -> None:
        self._forwarder.record_rejection(self._record, TOO_MANY_FILES if files else TOO_MANY_CONNECTIONS, files=files)

    def on_refused(self, sock: socket.socket, error: RemoteRuntimeError, *, request_lost: bool) -> None:
        self._forwarder.take_back(sock, self._record, error, request_lost=request_lost)

    def on_closed(self) -> None:
        if self._record.outcome == "waiting" and self._forwarder.has_upstream():
            self._record.on_client_closed()
        self._record.close()
