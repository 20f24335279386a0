"""The user's SSH agent, another program, which may be locked, stopped or gone."""

from __future__ import annotations

import logging
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

import paramiko
from paramiko.agent import AgentKey, AgentSSH

from ...core.profile import SshSettings
from ...core.sanitize import clean_line
from ..files.paths import expand_home, home_dir
from ..transport.server_text import decode_text

log = logging.getLogger(__name__)
# The agent may ask its user for consent, or to unlock it.
SIGN_TIMEOUT_S = 30.0
# The limits of OpenSSH's client.
_MAX_ANSWER_BYTES = 256 << 10
_MAX_KEYS = 2048
_REQUEST_IDENTITIES, _IDENTITIES_ANSWER = 11, 12  # draft-ietf-sshm-ssh-agent
_AgentSSH: Any = AgentSSH


def agent_address(settings: SshSettings, environ: Mapping[str, str]) -> str:
    """The path of its socket, empty where there is none; on Windows only words, for messages."""
    name = settings.identity_agent or "SSH_AUTH_SOCK"
    if name == "none":
        return ""
    path = environ.get("SSH_AUTH_SOCK", "") if name == "SSH_AUTH_SOCK" else name
    path = environ.get(path[1:], "") if path.startswith("$") else path
    if not path and sys.platform == "win32":
        return "this computer's agent"
    return str(expand_home(path, home_dir(environ))) if path else ""


def open_agent(address: str, within_s: float) -> Any:
    """A connection to the agent, which has listed its keys (``get_keys``). ``_close`` ends it.

    Raises ``TimeoutError``, ``OSError``, ``EOFError``; ``paramiko.SSHException`` when the answer is no list of keys.
    """
    if sys.platform == "win32":
        return paramiko.Agent()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(within_s)
        connection.connect(address)
        agent = _Agent(within_s)
        agent._connect(connection)  # paramiko's public class reads this process's environment only
        agent.within_s = SIGN_TIMEOUT_S
    except BaseException:
        connection.close()
        raise
    return agent


def limit_signing(key: paramiko.PKey, within_s: float) -> None:
    """A signature by ``key``, if it is an agent's, raises ``TimeoutError`` after half of that time: other keys may be
    offered then."""
    agent = key.agent if isinstance(key, AgentKey) else None
    if isinstance(agent, _Agent):
        agent.within_s = max(0.1, min(SIGN_TIMEOUT_S, within_s / 2))


class _Agent(_AgentSSH):  # type: ignore[misc]  # paramiko's types leave out the methods that it overrides
    """paramiko's restarts its timeout for each piece of an answer, accepts any size, and fails at one key that it
    cannot read. ``within_s``: for a whole answer."""

    def __init__(self, within_s: float) -> None:
        super().__init__()
        self.within_s = within_s

    def _connect(self, conn: socket.socket) -> None:
        self._conn = conn
        kind, answer = self._send_message(bytes([_REQUEST_IDENTITIES]))
        if kind != _IDENTITIES_ANSWER:
            raise paramiko.SSHException("it refuses to list its keys")
        keys = []
        for _ in range(min(answer.get_int(), _MAX_KEYS)):
            blob, comment = answer.get_string(), answer.get_string()
            if not blob:
                break
            try:
                keys.append(AgentKey(self, blob, clean_line(decode_text(comment), 100)))
            except Exception as error:  # noqa: BLE001  # paramiko, cryptography and nacl each raise their own
                log.info("a key of the agent can't be read: %r", error)
        self._keys = tuple(keys)

    def _send_message(self, msg: Any) -> tuple[int, paramiko.Message]:
        request = bytes(msg) if isinstance(msg, bytes) else msg.asbytes()
        end = time.monotonic() + self.within_s
        try:
            self._conn.settimeout(self.within_s)
            self._conn.sendall(len(request).to_bytes(4, "big") + request)
            size = int.from_bytes(self._read(4, end), "big")
            if not 0 < size <= _MAX_ANSWER_BYTES:
                raise paramiko.SSHException("its response is not an agent's")
            answer = paramiko.Message(self._read(size, end))
        except BaseException:
            self._conn.close()  # a late answer would be taken for the next one
            raise
        return answer.get_byte()[0], answer

    def _read(self, wanted: int, end: float) -> bytes:
        read = b""
        while len(read) < wanted:
            left_s = end - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("the agent does not answer")
            self._conn.settimeout(left_s)
            piece = self._conn.recv(wanted - len(read))
            if not piece:
                raise EOFError("the agent ends the conversation")
            read += piece
        return read
