"""Wakes a thread when this computer's network or clock may have changed, where the system reports that.

Linux does: rtnetlink(7) sends each change of links, addresses and routes, and a timer with ``TFD_TIMER_CANCEL_ON_SET``
(timerfd_create(2)) becomes readable when the wall clock jumps, as it does after a suspend. Elsewhere, and in sandboxes
that forbid these, the thread looks itself once a ``TICK_S``.
"""

from __future__ import annotations

import contextlib
import io
import os
import selectors
import socket
import sys
import time

from .network_change import TICK_S

_TIMER_CANCEL_ON_SET, _TIMER_ABSTIME = 2, 1  # timerfd_create(2)
_FAR_S = 10 * 365 * 86_400
# rtnetlink(7): RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE.
_NETLINK_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400


def _new_selector() -> selectors.BaseSelector:
    """One that opens no file: a process may open few, and each keeper has one of these."""
    if sys.platform == "win32":
        return selectors.SelectSelector()
    return selectors.PollSelector()


class _SocketPair:
    """Wakes a thread that selects ``readable``. Windows selects nothing but sockets."""

    def __init__(self) -> None:
        self.readable, self._sender = socket.socketpair()
        for end in (self.readable, self._sender):
            end.setblocking(False)

    def set(self) -> None:
        with contextlib.suppress(OSError):  # full: the thread wakes up anyway; closed: it has ended
            self._sender.send(b"!")

    def clear(self) -> None:
        _drain(self.readable)

    def close(self) -> None:
        self.readable.close()
        self._sender.close()


class _EventFile:
    """The same with one file, eventfd(2)."""

    readable: io.FileIO

    def __init__(self) -> None:
        if sys.platform == "win32":
            raise OSError("Windows has no eventfd(2)")
        self.readable = io.FileIO(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC), "r+")

    def set(self) -> None:
        with contextlib.suppress(ValueError):  # closed: the thread has ended
            self.readable.write((1).to_bytes(8, sys.byteorder))

    def clear(self) -> None:
        self.readable.read(8)

    def close(self) -> None:
        self.readable.close()


class SystemChanges:
    """``listen``, ``wait`` and ``close`` are for one thread, ``wake`` for any, and for signal handlers: it takes no
    lock. ``is_reported``: whether the system reports changes; False before ``listen``. Raises ``OSError``."""

    def __init__(self) -> None:
        self._wakeup = _SocketPair() if sys.platform == "win32" or not hasattr(os, "eventfd") else _EventFile()
        self._selector = _new_selector()
        self._netlink: socket.socket | None = None
        self._clock_fd: int | None = None
        self._looked_at = 0.0
        self._selector.register(self._wakeup.readable, selectors.EVENT_READ)
        self.is_reported = False

    def listen(self) -> None:
        """Ask the system to report changes."""
        if sys.platform == "linux":
            # Forbidden here, or a Python that was built without ctypes.
            with contextlib.suppress(OSError, ImportError, AttributeError):
                self._open_events()
        self.is_reported = self._netlink is not None and self._clock_fd is not None

    def wake(self) -> None:
        self._wakeup.set()

    def wait(self, within_s: float) -> float:
        """Returns after a change, after ``wake``, or after ``within_s``, or a ``TICK_S`` if the system reports nothing.
        The result is how long that was to take at most."""
        within_s = within_s if self.is_reported else min(TICK_S, within_s)
        ready = [key.fileobj for key, _ in self._selector.select(within_s)]
        if self._wakeup.readable in ready:
            self._wakeup.clear()
        elif ready:
            # Changes come in series; the first is looked at immediately, the others together.
            pause_s = self._looked_at + TICK_S - time.monotonic()
            if pause_s > 0:
                time.sleep(pause_s)
            self._looked_at = time.monotonic()
        if self._netlink in ready:
            _drain(self._netlink)
        if self._clock_fd in ready:
            with contextlib.suppress(OSError):  # ECANCELED: the clock has jumped; the timer watches on
                os.read(self._clock_fd, 8)
        return within_s

    def close(self) -> None:
        self._selector.close()
        self._wakeup.close()
        if self._netlink is not None:
            self._netlink.close()
        if self._clock_fd is not None:
            os.close(self._clock_fd)

    if sys.platform == "linux":

        def _open_events(self) -> None:
            self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            self._netlink.setblocking(False)
            self._netlink.bind((0, _NETLINK_GROUPS))
            self._selector.register(self._netlink, selectors.EVENT_READ)
            self._clock_fd = _create_clock_timer()
            self._selector.register(self._clock_fd, selectors.EVENT_READ)


def _drain(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is empty, or says that some were dropped: the look finds those too
        while True:
            sock.recv(1 << 16)


if sys.platform == "linux":

    def _create_clock_timer() -> int:
        """A timer that is never due, and becomes readable when the wall clock jumps. Raises ``OSError``."""
        import ctypes  # `os.timerfd_create` is there from Python 3.13 on

        class Interval(ctypes.Structure):
            """``struct itimerspec``."""

            _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "at_s", "at_ns")]

        libc = ctypes.CDLL(None, use_errno=True)
        fd = int(libc.timerfd_create(time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC))
        if fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        at = Interval(at_s=int(time.time()) + _FAR_S)
        if libc.timerfd_settime(fd, _TIMER_ABSTIME | _TIMER_CANCEL_ON_SET, ctypes.byref(at), None) < 0:
            error = ctypes.get_errno()
            os.close(fd)
            raise OSError(error, "timerfd_settime")
        return fd
