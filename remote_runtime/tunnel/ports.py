"""Binds local ports on both 127.0.0.1 and ::1, because browsers try ::1 first."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..core.errors import LocalError

if TYPE_CHECKING:
    import psutil

FIRST_PORT = 8888
AUTO_PORTS = 20
# They decide where the state files are: a process with other values has runtimes of its own.
STATE_VARIABLES = ("REMOTE_RUNTIME_STATE_DIR", "XDG_STATE_HOME", "HOME")
BACKLOG = 1024  # a full queue costs a client a second


def bind(wanted: int | tuple[int, int] | None, remembered: int | None = None) -> list[socket.socket]:
    """Listening sockets on one port of both loopback addresses (of 127.0.0.1 alone if there is no IPv6).

    ``wanted``: a port, an inclusive range, or None for any, near 8888; the remembered one is tried first if ``wanted``
    allows it. Raises ``LocalError`` ``port-in-use`` with the program that has the port, if the system reports it.
    """
    candidates = list(_candidates(wanted, remembered))
    for port in candidates:
        try:
            return _bind_both(port)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EPERM):
                raise
            if len(candidates) == 1:
                raise _in_use(port, denied=error.errno != errno.EADDRINUSE) from error
    if wanted is None:
        return _bind_any()
    raise LocalError(
        "port-in-use",
        f"All local ports from {candidates[0]} to {candidates[-1]} are in use",
        f"{candidates[0]}: {owner_of(candidates[0])}",
        "Use another port with `--port N`, or widen `forward.local_port`",
    )


def check(wanted: int | tuple[int, int] | None) -> None:
    """Check that ``bind`` would succeed now. Raises ``LocalError`` ``port-in-use``."""
    for listener in bind(wanted):
        listener.close()


def accepts(wanted: int | tuple[int, int] | None, remembered: int | None) -> bool:
    """Whether ``bind`` would try the remembered port."""
    return remembered is not None and remembered in _candidates(wanted, remembered)


def preferred(wanted: int | tuple[int, int] | None, remembered: int | None) -> int:
    """The port that ``bind`` tries first."""
    return next(iter(_candidates(wanted, remembered)))


def owner_of(port: int) -> str:
    """The program that listens on this port here, as text for people."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                if connection.pid is None:
                    return f"a program of another user, on {connection.laddr.ip}"
                return (
                    f"{_program_name(psutil.Process(connection.pid))} (pid {connection.pid}), on {connection.laddr.ip}"
                )
    except psutil.Error:
        # macOS shows other users' connections to root only.
        return "a program that the system hides"
    return "a program that has just ended, or that the system hides"


def _program_name(process: psutil.Process) -> str:
    words = process.cmdline()
    if "remote_runtime.keeper" not in words[:-1]:
        return str(process.name())
    if process.username() != type(process)().username():
        return "another user's remote-runtime"
    environ = process.environ()
    if any(environ.get(name) != os.environ.get(name) for name in STATE_VARIABLES):
        return "another remote-runtime"
    return f"the runtime {words[-1]}"


def _candidates(wanted: int | tuple[int, int] | None, remembered: int | None) -> Iterable[int]:
    if isinstance(wanted, int):
        return [wanted]
    first, last = wanted or (FIRST_PORT, FIRST_PORT + AUTO_PORTS - 1)
    ports = list(range(first, last + 1))
    if remembered is not None and (wanted is None or remembered in ports):
        ports = [remembered, *(port for port in ports if port != remembered)]
    return ports


def _bind_any() -> list[socket.socket]:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        try:
            return _bind_both(port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise


def _bind_both(port: int) -> list[socket.socket]:
    listeners: list[socket.socket] = []
    try:
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            if family == socket.AF_INET6 and not _has_ipv6():
                continue
            listeners.append(_bind_one(family, address, port))
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def bind_ipv6(port: int) -> socket.socket | None:
    """A listening socket on ``[::1]``; None if this computer has no IPv6. Raises ``LocalError`` ``port-in-use``."""
    if not _has_ipv6():
        return None
    try:
        return _bind_one(socket.AF_INET6, "::1", port)
    except OSError as error:
        raise _in_use(port, denied=error.errno != errno.EADDRINUSE) from error


def _bind_one(family: int, address: str, port: int) -> socket.socket:
    listener = socket.socket(family)
    try:
        if sys.platform == "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _has_ipv6() -> bool:
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _in_use(port: int, *, denied: bool) -> LocalError:
    return LocalError(
        "port-in-use",
        f"Can't use local port {port}" if denied else f"Local port {port} is in use",
        "the system reserves ports below 1024 for root" if denied else f"in use by {owner_of(port)}",
        "Use another port with `--port N`, or set `forward.local_port: auto`",
    )
