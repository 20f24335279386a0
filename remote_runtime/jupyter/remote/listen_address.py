"""Chooses where Jupyter will listen, before it is started: an address that the SSH server forwards to."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterator

from ...launcher.remote.reply import ReplyWriter, ReportedError
from . import processes, runtime_dir
from .data_dir import SOCKET
from .request import LaunchSpec

MAX_SOCKET_PATH_BYTES = 100  # unix(7): 108, macOS: 104


class ListenAddress:
    """Listens on a unix socket or a port for a moment, and asks the client whether the SSH server forwards to it. The
    answer arrives while the interpreters are probed. ``notes``: for people."""

    def __init__(self, directory: str, spec: LaunchSpec, reply: ReplyWriter) -> None:
        self._path = socket_path(directory)
        self._spec = spec
        self._reply = reply
        self._listener: socket.socket | None = None
        self._pending_address: int | str | None = None
        self.notes: list[str] = []

    def __enter__(self) -> ListenAddress:
        if not (self._spec.socket and self._try_socket()):
            self._try_port()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def use_socket(self, kind: str) -> bool:
        """Whether a server of this ``kind`` will listen on the unix socket; otherwise on a port.

        If the SSH server forwards to neither, the client disconnects: raises ``ClientGone``."""
        tried_socket = self._pending_address == self._path
        if self._can_forward() and tried_socket and supports_sockets(kind):
            self._close()
            return True
        if tried_socket:
            self._close()
            self._try_port()
            self._can_forward()
        self._close()
        return False

    def _try_socket(self) -> bool:
        """Network file systems (SMB, AFS, sshfs) often have no sockets."""
        if sys.platform == "win32":
            return False
        if len(os.fsencode(self._path)) > MAX_SOCKET_PATH_BYTES:
            self._note("the socket's path would be too long")
            return False
        self._listener = socket.socket(socket.AF_UNIX)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
            self._listener.bind(self._path)
            os.chmod(self._path, 0o600)
        except OSError as exc:
            self._close()
            self._note(f"{os.path.dirname(self._path)} can't hold a Unix socket ({exc.strerror or exc})")
            return False
        self._ask_client(self._path)
        return True

    def _note(self, why: str) -> None:
        self.notes.append(f"Jupyter listens on a port, which other users of the machine can reach: {why}")

    def _try_port(self) -> None:
        self._listener = _bind_port(self._spec.port)
        self._ask_client(int(self._listener.getsockname()[1]))

    def _ask_client(self, address: int | str) -> None:
        if self._listener:
            self._listener.listen(1)
        self._pending_address = address
        self._reply.ask_can_forward(address)

    def _can_forward(self) -> bool:
        while self._pending_address is not None and self._reply.remaining_s() > 0:
            answer = self._reply.read_answer(0.2)
            if answer is not None:
                self._pending_address = None
                return answer
            self._reply.sleep(0.0)
        return False

    def _close(self) -> None:
        listener, self._listener = self._listener, None
        if listener:
            listener.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)


def socket_path(directory: str) -> str:
    """In the server's directory, or with its kernels' sockets if that path is too long for a socket."""
    path = os.path.join(directory, SOCKET)
    is_short = len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES
    return path if is_short else os.path.join(runtime_dir.path_of(directory), SOCKET)


def supports_sockets(kind: str) -> bool:
    """Notebook 6 does not."""
    return kind.startswith("server")


@contextlib.contextmanager
def reserve_address(path: str, spec: LaunchSpec, *, on_socket: bool, hold: bool) -> Iterator[int | str]:
    """The address for the server: a socket, which no other user can use, or a port.

    ``hold``: on Linux a free port stays bound in the block, because two sockets with SO_REUSEADDR can share a port
    while only one listens. On other systems, and for jupyter_server 2.0, which tests the port without SO_REUSEADDR, it
    would seem to be in use."""
    if on_socket:
        yield path
        return
    with _bind_port(spec.port) as sock:
        port = int(sock.getsockname()[1])
        if spec.port or not (hold and processes.LINUX):
            sock.close()
        yield port


def _bind_port(port: int | None) -> socket.socket:
    """``port``: None for any. Raises ``ReportedError``."""
    sock = socket.socket()
    try:
        if os.name != "nt":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port or 0))
    except OSError as exc:
        sock.close()
        raise address_in_use_error(port or 0, exc) from exc
    return sock


def address_in_use_error(address: int | str, error: OSError | None = None) -> ReportedError:
    name = f"port {address}" if isinstance(address, int) else address
    is_taken = error is None or error.errno == errno.EADDRINUSE
    why = "another program is using it" if is_taken else f"the system rejects it: {error.strerror if error else ''}"
    return ReportedError("jupyter-did-not-start", f"Can't use {name} on the machine", why,
                         "Set another port: `jupyter.port`")  # fmt: skip
