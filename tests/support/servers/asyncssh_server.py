"""Another SSH server than OpenSSH's, in a thread: asyncssh, with one key that it accepts, renewing keys often."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh

from .sshd import make_key


class AsyncServer:
    """What ``ssh_client.Visitor`` needs of a server."""

    address = "127.0.0.1"

    def __init__(self, directory: Path, port: int) -> None:
        self.user = getpass.getuser()
        self.key_path = directory / "client_key"
        self.port = port


class _Guest(asyncssh.SSHServer):
    def connection_requested(self, *where: object) -> bool:
        return True

    def unix_connection_requested(self, path: str) -> bool:
        return True


@contextlib.contextmanager
def running_asyncssh(directory: Path) -> Iterator[AsyncServer]:
    directory.mkdir(exist_ok=True)
    for name in ("host_key", "client_key"):
        make_key(directory / name)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        listener = _call(loop, _listen(directory))
        yield AsyncServer(directory, listener.get_port())
        _call(loop, _end(listener))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _listen(directory: Path) -> Any:
    def run(process: Any) -> None:
        process.exit(0)

    return await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=_Guest,
        server_host_keys=[str(directory / "host_key")],
        authorized_client_keys=str(directory / "client_key.pub"),
        process_factory=run,
        rekey_bytes=1 << 20,
    )


async def _end(listener: Any) -> None:
    listener.close()
    await listener.wait_closed()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _call(loop: asyncio.AbstractEventLoop, work: Any) -> Any:
    return asyncio.run_coroutine_threadsafe(work, loop).result(20)
