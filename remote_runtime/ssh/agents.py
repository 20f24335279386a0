"""The user's SSH agent: it is another program, which may be locked, stopped or gone."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Mapping
from typing import Any

import paramiko
from paramiko.agent import AgentKey, AgentSSH

from ..settings import SshSettings
from .places import expand, home_of

# It may ask its user for consent, or to unlock it.
SIGNS_WITHIN_S = 30.0


def address_of(settings: SshSettings, environ: Mapping[str, str]) -> str:
    """Its socket's path; empty where there is none to ask. On Windows it has no path that we choose."""
    name = settings.identity_agent or "SSH_AUTH_SOCK"
    if name == "none":
        return ""
    path = environ.get("SSH_AUTH_SOCK", "") if name == "SSH_AUTH_SOCK" else name
    path = environ.get(path[1:], "") if path.startswith("$") else path
    if not path and sys.platform == "win32":
        return "this computer's agent"
    return str(expand(path, home_of(environ))) if path else ""


def open_agent(address: str, within_s: float) -> Any:
    """A conversation with it that has listed its keys (``get_keys``); its end is ``_close``.

    Raises ``TimeoutError`` when it does not answer, ``OSError``, ``EOFError`` or ``paramiko.SSHException``.
    """
    if sys.platform == "win32":
        return paramiko.Agent()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(within_s)
        connection.connect(address)
        agent: Any = AgentSSH()
        agent._connect(connection)  # the public class reads this process's environment only
        connection.settimeout(SIGNS_WITHIN_S)
    except BaseException:
        connection.close()
        raise
    return agent


def limit_signing(key: paramiko.PKey, within_s: float) -> None:
    """An agent's ``key`` signs within that time, or not at all."""
    connection = getattr(key.agent, "_conn", None) if isinstance(key, AgentKey) else None
    if isinstance(connection, socket.socket):
        with contextlib.suppress(OSError):
            connection.settimeout(max(0.1, min(SIGNS_WITHIN_S, within_s)))
