"""The ProxyCommand of ssh_config(5): its stdin and stdout are the connection, its stderr may say why it ended."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

from ..core.errors import SshError
from ..core.subprocesses import kill_group
from .transport.server_text import last_lines

_EXIT_TIMEOUT_S = 1.0
_MAX_STDERR_BYTES = 16 << 10
_TICK_S = 0.2
_CANNOT_RUN = {126: "it can't be run", 127: "there is no such program"}


def start_proxy_command(command: str, host: str, port: int, user: str, name: str) -> ProxyCommand:
    """Runs ``command`` by the user's shell rules of ssh_config(5), with ``%h``, ``%n``, ``%p``, ``%r`` and ``%%``
    replaced. ``name``: ``host`` as it was typed. Raises ``SshError``.
    """
    if sys.platform == "win32":
        raise SshError("ssh-config-unsupported", "ProxyCommand is not supported on Windows", command)
    values = {"h": host, "n": name, "p": str(port), "r": user}
    return ProxyCommand(["/bin/sh", "-c", "exec " + _expand_tokens(command, values)])


def _expand_tokens(command: str, values: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] == "%":
            return "%"
        if found[1] not in values:
            raise SshError("ssh-config-unsupported", f"{found[0]} in ProxyCommand is not supported", command)
        text = values[found[1]]
        # A host name that is a shell word of its own would be run as one.
        if not all(character.isalnum() or character in "-._:@[]%" for character in text):
            raise SshError("ssh-config-unsupported", f"{text!r} can't be given to ProxyCommand", command)
        return text

    return re.sub("%(.?)", value, command, flags=re.DOTALL)


class ProxyCommand:
    """A ``connectors.Connection``. Raises ``SshError`` ``ssh-unreachable`` when it cannot be started."""

    def __init__(self, words: Sequence[str]) -> None:
        self.socket, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    words,
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            except OSError as error:
                self.socket.close()
                what = "Can't run the ProxyCommand of ~/.ssh/config"
                raise SshError("ssh-unreachable", what, str(error), "Correct `ProxyCommand` there") from error
        self._stderr = b""
        self._closed = False
        self._grace_s = _EXIT_TIMEOUT_S
        self._reader = threading.Thread(target=self._read, name="ProxyCommand", daemon=True)
        self._reader.start()

    @property
    def cannot_run(self) -> bool:
        """Whether its shell could not run the program: a retry makes no sense."""
        return self._process.poll() in _CANNOT_RUN

    def stderr_tail(self) -> str:
        """The last lines of its stderr."""
        return last_lines(self._stderr.decode("utf-8", "replace"))

    def close_reason(self) -> str:
        grace_s, self._grace_s = self._grace_s, 0.0  # its output ends a moment before it does
        try:
            status = self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            return ""
        self._reader.join(grace_s)  # others may hold its stderr open
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        said = self.stderr_tail() or _CANNOT_RUN.get(status, "")
        return f"the ProxyCommand {how}: {said}" if said else f"the ProxyCommand {how}"

    def close(self) -> None:
        try:
            self._process.wait(_EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            kill_group(self._process)
            self._process.wait()
        self._closed = True
        self._reader.join(_EXIT_TIMEOUT_S)

    def _read(self) -> None:
        """Reads all of its stderr, so that it never blocks, and keeps the end. A program that it left running, such as
        a master of `ControlPersist`, may hold stderr open for ever."""
        stderr = self._process.stderr
        if stderr is None:
            return
        with stderr, selectors.DefaultSelector() as selector, contextlib.suppress(OSError, ValueError):
            selector.register(stderr, selectors.EVENT_READ)
            left = _MAX_STDERR_BYTES >> 12
            while left > 0:
                left -= self._closed
                if selector.select(_TICK_S):
                    piece = os.read(stderr.fileno(), 1 << 12)
                    if not piece:
                        break
                    self._stderr = (self._stderr + piece)[-_MAX_STDERR_BYTES:]
                elif self._closed:
                    break
