"""The SSH server of the demo machine: one port, one thread, one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import threading
from collections.abc import Collection, Coroutine, Mapping, Sequence

import asyncssh

from . import exec
from .account import Account
from .policy import AccessPolicy, HomeSftp
from .program import Program

HOST_KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256")
LOGIN_TIMEOUT_S = 30
CALL_TIMEOUT_S = 10.0
SESSIONS_END_TIMEOUT_S = 2.0


class SshServer:
    """Runs in a thread of its own from ``start`` to ``stop``; in between ``open`` and ``close`` it accepts connections.

    The port is the same all the time: refused before the first ``open``, reset after ``close``, silent when frozen.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._authorized: Collection[str] = ()
        self._host_keys = [asyncssh.generate_private_key(kind) for kind in HOST_KEY_TYPES]
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = False
        self._thawed = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sessions: set[asyncio.Task[None]] = set()
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._thread = threading.Thread(target=self._run, name="demo-sshd")

    @property
    def host_keys(self) -> Mapping[str, str]:
        """Type → base64."""
        lines = (key.export_public_key().decode().split() for key in self._host_keys)
        return {line[0]: line[1] for line in lines}

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def authorize(self, entries: Mapping[str, Sequence[str]]) -> None:
        """Sets the accepted keys: user → ``TYPE BASE64`` lines. There is only one user."""
        self._authorized = frozenset(entries.get(self._account.user, ()))

    def open(self) -> None:
        self._call(self._open())

    def close(self) -> None:
        """Cuts all connections."""
        self.thaw()
        self._call(self._close())

    def freeze(self) -> None:
        """Blocks the thread until ``thaw``: nothing is answered and nothing is lost."""
        self._thawed.clear()
        self._loop.call_soon_threadsafe(self._thawed.wait)

    def thaw(self) -> None:
        self._thawed.set()

    def stop(self) -> None:
        self.thaw()
        if self._thread.is_alive():
            self._call(self._close())
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join()
        self._listener.close()
        self._loop.close()

    # ── in its thread ──

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        await self._stopped.wait()
        if self._sessions:  # of processes that survived being terminated
            await asyncio.wait(self._sessions, timeout=SESSIONS_END_TIMEOUT_S)
        tasks = self._tasks | self._sessions
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=SESSIONS_END_TIMEOUT_S)

    def _call(self, work: Coroutine[None, None, None]) -> None:
        """Runs ``work`` in the loop, from another thread. Raises its exceptions."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_TIMEOUT_S)

    async def _open(self) -> None:
        if not self._tasks:
            self._listener.listen()
            self._start_task(self._accept())
        self._accepting = True

    async def _close(self) -> None:
        self._accepting = False
        for connection in list(self._connections):
            connection.abort()

    async def _accept(self) -> None:
        while True:
            accepted, _ = await self._loop.sock_accept(self._listener)
            if self._accepting:
                self._start_task(self._handle_connection(accepted))
            else:
                _reset(accepted)

    async def _handle_connection(self, accepted: socket.socket) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(asyncssh.Error, OSError):  # a client that fails to log in or goes away
            connection = await asyncssh.run_server(
                accepted,
                server_factory=lambda: AccessPolicy(self._account.user, lambda: self._authorized, self._connections),
                server_host_keys=self._host_keys,
                process_factory=self._serve_session,
                sftp_factory=lambda channel: HomeSftp(channel, self._account.home),
                encoding=None,
                line_editor=False,
                password_auth=False,
                kbdint_auth=False,
                host_based_auth=False,
                gss_host=None,
                agent_forwarding=False,
                x11_forwarding=False,
                login_timeout=LOGIN_TIMEOUT_S,
            )
            await connection.wait_closed()

    async def _serve_session(self, session: asyncssh.SSHServerProcess[bytes]) -> None:
        requested = dict(session.env)
        if session.term_type is not None:
            requested["TERM"] = session.term_type
        account = self._account
        environment = {**account.environment(requested), "SSH_CONNECTION": _ssh_connection(session)}
        program = Program(account.argv(session.command), environment, account.home)
        task = asyncio.ensure_future(exec.run_program(session, program))
        self._sessions.add(task)
        task.add_done_callback(self._sessions.discard)
        await task

    def _start_task(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _ssh_connection(session: asyncssh.SSHServerProcess[bytes]) -> str:
    """SSH_CONNECTION, see ssh(1): the client's address and port, then the server's."""
    ends = (*session.get_extra_info("peername")[:2], *session.get_extra_info("sockname")[:2])
    return " ".join(str(part) for part in ends)


def _reset(accepted: socket.socket) -> None:
    """Closes it with RST, so that the client notices at once."""
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("hh" if os.name == "nt" else "ii", 1, 0))
    accepted.close()
