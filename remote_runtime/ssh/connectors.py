"""Connections to a machine's SSH port: the interface, and TCP to the address that answers first."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import zip_longest
from typing import Any, Literal, Protocol

from ..core.deadline import Deadline
from ..core.errors import SshError

_STAGGER_S = 0.25
_TICK_S = 0.1
_MAX_OTHERS_SHOWN = 3
_IN_PROGRESS = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", 0))
_FAMILIES = {"any": socket.AF_UNSPEC, "inet": socket.AF_INET, "inet6": socket.AF_INET6}
_Address = tuple[int, Any]

Family = Literal["any", "inet", "inet6"]
FailureKind = Literal["refused", "silent", "unreachable", "unknown host"]


class Connection(Protocol):
    """``socket``: blocking, connected to the machine's SSH port. ``close_reason``: empty while the connection is open,
    and after ``close``."""

    @property
    def socket(self) -> socket.socket: ...
    def close_reason(self) -> str: ...
    def close(self) -> None: ...


Connector = Callable[[Deadline], Connection]
"""Opens a connection. Raises ``SshError`` and ``Interrupted``."""


class TcpConnection:
    """A plain socket. The transport that uses it closes it."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    def close_reason(self) -> str:
        return ""

    def close(self) -> None:
        """See the class."""


class NoVersionReceived(SshError):
    """``ssh-unreachable``: the port accepts connections, and no SSH server has sent its version yet."""


class ConnectFailed(Exception):
    """No TCP connection. Stays inside this package."""

    def __init__(self, kind: FailureKind, why: str, address: str = "") -> None:
        super().__init__(why)
        self.kind = kind
        self.why = why
        self.address = address


class AddressCache:
    """Which address of a host and port answered last: the next connection tries it first. After ``confirm`` that stays
    the one that had answered then: another one may be another machine's."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int], _Address] = {}
        self._confirmed: dict[tuple[str, int], _Address] = {}

    def remember(self, host: str, port: int, address: _Address) -> None:
        self._last[host, port] = address

    def prefer_known(self, host: str, port: int, addresses: list[_Address]) -> list[_Address]:
        known = self._confirmed.get((host, port)) or self._last.get((host, port))
        return sorted(addresses, key=lambda address: address != known)

    def confirm(self) -> None:
        self._confirmed.update(self._last)


def connect_tcp(
    host: str, port: int, deadline: Deadline, family: Family = "any", cache: AddressCache | None = None
) -> socket.socket:
    """A connected socket, with TCP_NODELAY, to the first address of ``host`` that answers. They are tried in parallel,
    ``_STAGGER_S`` apart, with the families in turn (RFC 8305); the one in ``cache`` first.

    Raises ``ConnectFailed``, or ``Interrupted``.
    """
    cache = cache or AddressCache()
    addresses = cache.prefer_known(host, port, _interleave_families(_resolve(host, port, _FAMILIES[family], deadline)))
    with HappyEyeballs(addresses) as race:
        won, address = race.run(deadline)
    cache.remember(host, port, address)
    with contextlib.suppress(OSError):
        won.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return won


class HappyEyeballs:
    """Parallel attempts to connect to ``addresses``. Closes all but the first that succeeds."""

    def __init__(self, addresses: list[_Address]) -> None:
        self._pending = deque(addresses)
        self._selector = selectors.DefaultSelector()
        self._failed: list[ConnectFailed] = []
        self._start = self._next_attempt_at = time.monotonic()

    def __enter__(self) -> HappyEyeballs:
        return self

    def __exit__(self, *error: object) -> None:
        for key in list(self._selector.get_map().values()):
            self._close_attempt(key.fileobj)
        self._selector.close()

    def run(self, deadline: Deadline) -> tuple[socket.socket, _Address]:
        while True:
            running = self._selector.get_map()
            if self._pending and (not running or time.monotonic() >= self._next_attempt_at):
                self._start_attempt(self._pending.popleft())
                continue
            if not running:
                raise self._error()
            wait_s = min(_TICK_S, deadline.remaining_s())
            if self._pending:
                wait_s = min(wait_s, max(0.0, self._next_attempt_at - time.monotonic()))
            for key, _ in self._selector.select(wait_s):
                code = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # type: ignore[union-attr]  # a socket
                if code == 0:
                    self._selector.unregister(key.fileobj)
                    return key.fileobj, key.data  # type: ignore[return-value]  # as above
                self._close_attempt(key.fileobj)
                self._record_failure(key.data, code)
            deadline.check()
            if deadline.passed():
                if not self._selector.get_map() and not self._pending:
                    raise self._error()
                raise ConnectFailed("silent", f"no answer within {time.monotonic() - self._start:.0f} s")

    def _start_attempt(self, address: _Address) -> None:
        self._next_attempt_at = time.monotonic() + _STAGGER_S
        try:
            attempt = socket.socket(address[0], socket.SOCK_STREAM)
        except OSError as error:  # this computer does not have the family, or no descriptor is left
            self._record_failure(address, error.errno or 0)
            return
        attempt.setblocking(False)
        code = attempt.connect_ex(address[1])
        if code in _IN_PROGRESS:
            self._selector.register(attempt, selectors.EVENT_WRITE, address)
        else:
            attempt.close()
            self._record_failure(address, code)

    def _record_failure(self, address: _Address, code: int) -> None:
        """The next attempt starts at once then."""
        self._next_attempt_at = time.monotonic()
        why = os.strerror(code).lower() if code else "no connection"
        self._failed.append(
            ConnectFailed("refused" if code == errno.ECONNREFUSED else "unreachable", why, address[1][0])
        )

    def _close_attempt(self, attempt: Any) -> None:
        self._selector.unregister(attempt)
        attempt.close()

    def _error(self) -> ConnectFailed:
        """The most specific failure: a refusal, if there was one."""
        if not self._failed:
            return ConnectFailed("unknown host", "the name has no address")
        best = next((each for each in self._failed if each.kind == "refused"), self._failed[0])
        others = [f"{each.why} at {each.address}" for each in self._failed if each.why != best.why]
        return ConnectFailed(best.kind, "; ".join([best.why, *others[:_MAX_OTHERS_SHOWN]]))


def _interleave_families(addresses: list[_Address]) -> list[_Address]:
    """In the resolver's order (RFC 6724), with the families in turn."""
    if not addresses:
        return []
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    mixed = [address for pair in zip_longest(first, others) for address in pair]
    return [address for address in mixed if address is not None]


def _resolve(host: str, port: int, family: int, deadline: Deadline) -> list[_Address]:
    try:
        return resolve_name(host, port, family, deadline)
    except TimeoutError as error:
        raise ConnectFailed("unknown host", "the look-up of its name does not end") from error
    except (OSError, UnicodeError) as error:
        only = "" if family == socket.AF_UNSPEC else " for the AddressFamily of ~/.ssh/config"
        raise ConnectFailed("unknown host", f"its name can't be resolved{only} ({error})") from error


def resolve_name(host: str, port: int, family: int, deadline: Deadline) -> list[_Address]:
    """The addresses of ``host``, each once. ``getaddrinfo`` cannot be interrupted, so it runs in a thread, which is
    left behind at the deadline.

    Raises ``TimeoutError``, ``Interrupted``; ``OSError`` and ``UnicodeError`` as ``getaddrinfo`` does: there is no such
    host, or a label of its name is empty or too long.
    """
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=look_up, name="getaddrinfo", daemon=True).start()
    while True:
        try:
            answer = answers.get(timeout=_TICK_S)
        except queue.Empty:
            deadline.check()
            if deadline.passed():
                raise TimeoutError from None
            continue
        if isinstance(answer, Exception):
            raise answer
        return list(dict.fromkeys((kind, address) for kind, _, _, _, address in answer))
