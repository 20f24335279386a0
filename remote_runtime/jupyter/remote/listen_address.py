"""Where Jupyter will listen: found out before it is started, so that no server is started in vain."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterator

from . import processes, runtime_dir
from .data_dir import SOCKET
from .reply import Answers, Failure
from .request import Wish

LONGEST_SOCKET = 100  # bytes of a path: unix(7) has 108, macOS 104


class Places:
    """A socket of our own stands there, or a port, and the client is asked whether the SSH server leads to it. Its
    answer comes while the interpreters are looked at. ``notes``: what a person should know."""

    def __init__(self, directory: str, wish: Wish, answers: Answers) -> None:
        self._path = socket_of(directory)
        self._wish = wish
        self._answers = answers
        self._listener: socket.socket | None = None
        self._asked: int | str | None = None
        self.notes: list[str] = []

    def __enter__(self) -> Places:
        if not (self._wish.socket and self._takes_socket()):
            self._try_port()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def settle(self, kind: str) -> bool:
        """Whether a server of this ``kind`` will listen on the unix socket; else the SSH server leads to ports.

        A client whose SSH server leads to neither ends the connection: raises ``Hung``."""
        tried_socket = self._asked == self._path
        if self._is_reached() and tried_socket and can_use_sockets(kind):
            self._close()
            return True
        if tried_socket:
            self._close()
            self._try_port()
            self._is_reached()
        self._close()
        return False

    def _takes_socket(self) -> bool:
        """A file system of another machine (SMB, AFS, sshfs) often takes none."""
        if sys.platform == "win32":
            return False
        if len(os.fsencode(self._path)) > LONGEST_SOCKET:
            self._note("its path would be too long")
            return False
        self._listener = socket.socket(socket.AF_UNIX)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
            self._listener.bind(self._path)
            os.chmod(self._path, 0o600)
        except OSError as exc:
            self._close()
            self._note(f"{os.path.dirname(self._path)} takes no unix socket ({exc.strerror or exc})")
            return False
        self._ask(self._path)
        return True

    def _note(self, why: str) -> None:
        self.notes.append(f"Jupyter listens on a port, which other users of the machine can reach too: {why}")

    def _try_port(self) -> None:
        self._listener = socket.socket()
        try:
            if os.name != "nt":
                self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(("127.0.0.1", self._wish.port or 0))
        except OSError as exc:
            self._close()
            raise place_in_use(self._wish.port or 0, exc) from exc
        self._ask(int(self._listener.getsockname()[1]))

    def _ask(self, place: int | str) -> None:
        if self._listener:
            self._listener.listen(1)
        self._asked = place
        self._answers.ask_reach(place)

    def _is_reached(self) -> bool:
        while self._asked is not None and self._answers.remaining_s() > 0:
            answer = self._answers.heard(0.2)
            if answer is not None:
                self._asked = None
                return answer
            self._answers.tick(0.0)
        return False

    def _close(self) -> None:
        listener, self._listener = self._listener, None
        if listener:
            listener.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)


def socket_of(directory: str) -> str:
    """In the server's directory, or, where its path is too long for a socket, in the folder of its kernels' sockets."""
    path = os.path.join(directory, SOCKET)
    is_short = len(os.fsencode(path)) <= LONGEST_SOCKET
    return path if is_short else os.path.join(runtime_dir.path_of(directory), SOCKET)


def can_use_sockets(kind: str) -> bool:
    """Notebook 6 knows ports only."""
    return kind.startswith("server")


@contextlib.contextmanager
def reserved(path: str, wish: Wish, *, on_socket: bool, hold: bool) -> Iterator[int | str]:
    """Where the server will listen: on a socket that no other user reaches, or on a port."""
    if on_socket:
        yield path
    else:
        with reserved_port(wish.port, hold=hold and not wish.port) as port:
            yield port


@contextlib.contextmanager
def reserved_port(wanted: int | None, *, hold: bool) -> Iterator[int]:
    """A port for the server. ``hold``: on Linux it stays reserved meanwhile, since two sockets with SO_REUSEADDR can
    share a port as long as only one listens. Other systems, and jupyter_server 2.0, which looks whether the port is
    free without SO_REUSEADDR, would take it for in use."""
    with socket.socket() as reserved:
        if os.name != "nt":
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            reserved.bind(("127.0.0.1", wanted or 0))
        except OSError as exc:
            raise place_in_use(wanted or 0, exc) from exc
        port = int(reserved.getsockname()[1])
        if not (hold and processes.LINUX):
            reserved.close()
        yield port


def place_in_use(place: int | str, refused: OSError | None = None) -> Failure:
    name = f"port {place}" if isinstance(place, int) else place
    other = refused is None or refused.errno == errno.EADDRINUSE
    why = "another program has it" if other else f"the system refuses it: {refused.strerror if refused else ''}"
    return Failure("jupyter-did-not-start", f"{name} on the machine cannot be used", why,
                   "Choose another: `jupyter.port`")  # fmt: skip
