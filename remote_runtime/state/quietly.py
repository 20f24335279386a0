"""Connections of our own commands to a runtime's local port, which its keeper counts as nobody's visit."""

from __future__ import annotations

import socket
from collections.abc import Callable

from ..core.deadline import Deadline
from . import ipc, store

ANNOUNCE_TIMEOUT_S = 5.0


def uncounted_connector(name: str, state: store.StateDir) -> Callable[[int, float], socket.socket]:
    """How to connect to a port of this runtime within so many seconds: the keeper is told first which connection is
    ours. It raises ``OSError``."""

    def connect(port: int, timeout_s: float) -> socket.socket:
        connection = socket.socket()
        try:
            connection.settimeout(timeout_s)
            connection.bind(("127.0.0.1", 0))
            with ipc.connect(state, name, Deadline(ANNOUNCE_TIMEOUT_S)) as channel:
                channel.send({"op": "expect", "port": connection.getsockname()[1]})
                channel.receive(ANNOUNCE_TIMEOUT_S)
            connection.connect(("127.0.0.1", port))
        except BaseException:
            connection.close()
            raise
        return connection

    return connect
