"""Who may log in to the demo machine, and which forwards and files are allowed."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Collection
from pathlib import Path

import asyncssh


class AccessPolicy(asyncssh.SSHServer):
    """``authorized`` returns the ``TYPE BASE64`` of each accepted key. ``connections``: those that are open."""

    def __init__(
        self, user: str, authorized: Callable[[], Collection[str]], connections: set[asyncssh.SSHServerConnection]
    ) -> None:
        self._user = user
        self._authorized = authorized
        self._connections = connections

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self._connection)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        presented = " ".join(key.export_public_key().decode().split()[:2])
        return username == self._user and presented in self._authorized()

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        if not _is_loopback(dest_host):
            reason = f"{dest_host} is not the machine itself"
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, reason)
        return True

    def unix_connection_requested(self, dest_path: str) -> bool:
        return True


class HomeSftp(asyncssh.SFTPServer):
    """Relative paths start in ``home``."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], home: Path) -> None:
        super().__init__(channel)
        self._home = home

    def map_path(self, path: bytes) -> bytes:
        return super().map_path(os.path.join(os.fsencode(self._home), path))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
