"""A connected socket to the machine's SSH port: every address in turn, or through the user's ProxyCommand."""

from __future__ import annotations

import os
import queue
import selectors
import socket
import sys
import threading
import time
from typing import Any, Literal

from ..errors import SshError
from ..waits import Deadline
from .proxy_command import ProxyCommand

_ATTEMPT_S = 10.0
_TICK_S = 0.1

Trouble = Literal["refused", "silent", "unreachable", "unknown host"]


class NoAnswer(Exception):
    """No connection: ``why`` in words. Stays inside this package."""

    def __init__(self, trouble: Trouble, why: str) -> None:
        super().__init__(why)
        self.trouble = trouble
        self.why = why


def open_socket(host: str, port: int, deadline: Deadline) -> socket.socket:
    """Connected, without Nagle's delay. Raises ``NoAnswer`` for the last address tried, or ``Interrupted``."""
    trouble = NoAnswer("unknown host", "the name has no address")
    addresses = _addresses(host, port, deadline)
    for number, (family, address) in enumerate(addresses, 1):
        try:
            return _connect(family, address, deadline if number == len(addresses) else deadline.shorter(_ATTEMPT_S))
        except NoAnswer as error:
            trouble = error
    raise trouble


def open_proxy(command: str, host: str, port: int, user: str) -> ProxyCommand:
    """``command``, begun; its ``socket`` leads to its standard input and output.

    ``%h``, ``%n``, ``%p``, ``%r`` and ``%%`` are replaced as ssh_config(5) says. Raises ``SshError``.
    """
    if sys.platform == "win32":
        raise SshError("ssh-config-unsupported", "ProxyCommand is not supported on Windows", command)
    words = ["/bin/sh", "-c", "exec " + _fill_in(command, {"h": host, "n": host, "p": str(port), "r": user})]
    return ProxyCommand(words)


def _addresses(host: str, port: int, deadline: Deadline) -> list[tuple[int, Any]]:
    """The resolver cannot be interrupted, so it runs in a thread that may be left behind."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    while True:
        try:
            found = answers.get(timeout=_TICK_S)
        except queue.Empty:
            deadline.check()
            if deadline.passed():
                raise NoAnswer("unknown host", "the look-up of its name does not end") from None
            continue
        if isinstance(found, Exception):
            raise NoAnswer("unknown host", f"its name cannot be resolved ({found})") from found
        return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _connect(family: int, address: Any, deadline: Deadline) -> socket.socket:
    start = time.monotonic()
    attempt = socket.socket(family, socket.SOCK_STREAM)
    try:
        attempt.setblocking(False)
        try:
            attempt.connect(address)
        except BlockingIOError:
            _wait_connected(attempt, deadline, start)
        attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except ConnectionRefusedError as error:
        attempt.close()
        raise NoAnswer("refused", "connection refused") from error
    except OSError as error:
        attempt.close()
        raise NoAnswer("unreachable", (error.strerror or str(error)).lower()) from error
    except BaseException:
        attempt.close()
        raise
    return attempt


def _wait_connected(attempt: socket.socket, deadline: Deadline, start: float) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(attempt, selectors.EVENT_WRITE)
        while not selector.select(min(_TICK_S, deadline.remaining_s())):
            deadline.check()
            if deadline.passed():
                raise NoAnswer("silent", f"no answer within {time.monotonic() - start:.0f} s")
    deadline.check()
    code = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _fill_in(command: str, values: dict[str, str]) -> str:
    done = ""
    rest = iter(command)
    for character in rest:
        if character != "%":
            done += character
            continue
        sign = next(rest, "")
        if sign != "%" and sign not in values:
            raise SshError("ssh-config-unsupported", f"%{sign} in ProxyCommand is not supported", command)
        # A host name that is a shell word of its own would be run as one.
        value = values.get(sign, "%")
        if sign in values and not all(c.isalnum() or c in "-._:@[]%" for c in value):
            raise SshError("ssh-config-unsupported", f"{value!r} cannot be given to ProxyCommand", command)
        done += value
    return done
