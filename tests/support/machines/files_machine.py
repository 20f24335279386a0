"""The agent for files on this computer, as another machine: its own HOME, and connections that a test can cut."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import HealthError, SshError
from remote_runtime.files.agent import Agent, open_agent
from tests.support.machines.local_machine import LocalMachine


class FilesMachine:
    """A ``files.agent.AgentMachine``. ``forwards``: the kinds of addresses that its SSH server forwards to."""

    is_shared = False

    def __init__(self, home: Path, *, forwards: tuple[str, ...] = ("unix", "tcp")) -> None:
        self._machine = LocalMachine(home)
        self.home = home
        self.run = self._machine.run
        self.forwards = forwards
        self.open: list[socket.socket] = []

    def run_within(self, command: list[str]) -> None:
        """Run its commands by this one."""
        self._machine.within = command

    def connect(self, host: str, port: int, *, within_s: float = 10) -> socket.socket:
        if ("tcp" if port else "unix") not in self.forwards:
            raise SshError("ssh-refused", "The SSH server refused to connect", "administratively prohibited")
        sock = socket.socket(socket.AF_INET if port else socket.AF_UNIX)
        try:
            sock.connect((host, port) if port else host)
        except OSError as error:
            sock.close()
            raise HealthError("not-answering", "Nothing listens", str(error)) from error
        self.open.append(sock)
        return sock

    def cut(self) -> None:
        """Reset all connections."""
        for sock in self.open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self.open.clear()


@contextlib.contextmanager
def agent_of(machine: FilesMachine, *, python: str = "auto") -> Iterator[Agent]:
    with open_agent(machine, python=python, progress=lambda text: None, deadline=Deadline(60)) as agent:
        yield agent
