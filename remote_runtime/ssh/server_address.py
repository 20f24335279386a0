"""Where a machine's SSH server is on the machine itself: the address at which it accepted a login."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Sequence

from ..core.callbacks import RunCommand
from ..core.deadline import Deadline

_COMMAND = ("sh", "-c", 'echo "$SSH_CONNECTION"')


class ServerAddress:
    """The address at which the machine's SSH server accepted a login, by ``run`` of that login. For any thread."""

    def __init__(self, run: RunCommand) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._found: list[tuple[str, int] | None] = []

    def find(self, deadline: Deadline) -> tuple[str, int] | None:
        """(address, port); None if the server does not say. The answer is kept. Raises as ``RunCommand``."""
        with self._lock:
            if not self._found:
                lines: list[str] = []
                self._run(_COMMAND, stdin=b"", on_line=lines.append, deadline=deadline)
                self._found.append(parse_connection(lines))
            return self._found[0]


def parse_connection(lines: Sequence[str]) -> tuple[str, int] | None:
    """The server's address in ``SSH_CONNECTION`` (ssh(1)): client's address and port, then the server's. A startup file
    of the shell may have printed other lines before."""
    fields = lines[-1].split() if lines else []
    if len(fields) != 4 or not (fields[3].isascii() and fields[3].isdigit()):
        return None
    address, port = fields[2], int(fields[3])
    try:
        ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None  # UNKNOWN where the server was not reached by TCP
    return (address, port) if 0 < port < 65536 else None
