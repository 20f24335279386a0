"""A connected socket to the machine's SSH port: the address that answers first, or the user's ProxyCommand."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import selectors
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import zip_longest
from typing import Any, Literal, Protocol

from ..core.deadline import Deadline
from ..core.errors import SshError
from .proxy_command import ProxyCommand

_STAGGER_S = 0.25
_TICK_S = 0.1
_MAX_OTHERS_SHOWN = 3
_IN_PROGRESS = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", 0))
_FAMILIES = {"any": socket.AF_UNSPEC, "inet": socket.AF_INET, "inet6": socket.AF_INET6}
_Address = tuple[int, Any]

Family = Literal["any", "inet", "inet6"]
FailureKind = Literal["refused", "silent", "unreachable", "unknown host"]


class ConnectFailed(Exception):
    """No connection: ``why`` in words. Stays inside this package."""

    def __init__(self, kind: FailureKind, why: str, address: str = "") -> None:
        super().__init__(why)
        self.kind = kind
        self.why = why
        self.address = address


class AddressCache:
    """Which address of a name answered last: a reconnect tries it first. Once ``settle`` was called, the one that had
    answered then: another one may be another machine's."""

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
    """Connected, without Nagle's delay: to the first of its addresses that answers. Those are tried in parallel, each a
    moment after the one before it, the families in turn (RFC 8305); ``reached``: what answered before goes first.

    Raises ``NoAnswer``, or ``Interrupted``.
    """
    cache = cache or AddressCache()
    addresses = cache.prefer_known(host, port, _interleave_families(_resolve(host, port, _FAMILIES[family], deadline)))
    with HappyEyeballs(addresses) as race:
        won, address = race.run(deadline)
    cache.remember(host, port, address)
    with contextlib.suppress(OSError):
        won.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return won


def start_proxy_command(command: str, host: str, port: int, user: str, name: str) -> ProxyCommand:
    """``command``, begun; its ``socket`` leads to its standard input and output. ``name``: ``host`` as it was typed.

    ``%h``, ``%n``, ``%p``, ``%r`` and ``%%`` are replaced as ssh_config(5) says. Raises ``SshError``.
    """
    if sys.platform == "win32":
        raise SshError("ssh-config-unsupported", "ProxyCommand is not supported on Windows", command)
    words = ["/bin/sh", "-c", "exec " + _expand_tokens(command, {"h": host, "n": name, "p": str(port), "r": user})]
    return ProxyCommand(words)


class HappyEyeballs:
    """Connections that are being made to ``addresses``; the ones that have not won are closed at the end."""

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
        """The next one need not wait then."""
        self._next_attempt_at = time.monotonic()
        why = os.strerror(code).lower() if code else "no connection"
        self._failed.append(
            ConnectFailed("refused" if code == errno.ECONNREFUSED else "unreachable", why, address[1][0])
        )

    def _close_attempt(self, attempt: Any) -> None:
        self._selector.unregister(attempt)
        attempt.close()

    def _error(self) -> ConnectFailed:
        """A refusal tells more than a network that leads nowhere."""
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
    """The resolver cannot be interrupted, so it runs in a thread that may be left behind."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def resolve_name() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=resolve_name, name="look-up", daemon=True).start()
    while True:
        try:
            result = answers.get(timeout=_TICK_S)
        except queue.Empty:
            deadline.check()
            if deadline.passed():
                raise ConnectFailed("unknown host", "the look-up of its name does not end") from None
            continue
        if isinstance(result, Exception):
            only = "" if family == socket.AF_UNSPEC else " for the AddressFamily of ~/.ssh/config"
            raise ConnectFailed("unknown host", f"its name cannot be resolved{only} ({result})") from result
        return list(dict.fromkeys((kind, address) for kind, _, _, _, address in result))


def _expand_tokens(command: str, values: dict[str, str]) -> str:
    expanded = ""
    rest = iter(command)
    for character in rest:
        if character != "%":
            expanded += character
            continue
        letter = next(rest, "")
        if letter != "%" and letter not in values:
            raise SshError("ssh-config-unsupported", f"%{letter} in ProxyCommand is not supported", command)
        # A host name that is a shell word of its own would be run as one.
        value = values.get(letter, "%")
        if letter in values and not all(c.isalnum() or c in "-._:@[]%" for c in value):
            raise SshError("ssh-config-unsupported", f"{value!r} cannot be given to ProxyCommand", command)
        expanded += value
    return expanded


class NoVersionReceived(SshError):
    """``ssh-unreachable``: a port that accepts connections, and no SSH server that has spoken there yet."""


class Connection(Protocol):
    """``socket``: blocking, its other end is the machine's SSH port. ``why_ended``: empty while it is open, and when it
    was ended from this side."""

    @property
    def socket(self) -> socket.socket: ...
    def close_reason(self) -> str: ...
    def close(self) -> None: ...


Connector = Callable[[Deadline], Connection]
"""Opens one. Raises ``SshError`` and ``Interrupted``."""
