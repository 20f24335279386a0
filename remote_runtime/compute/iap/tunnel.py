"""The live connection: a socket whose other end a thread carries to the relay and back."""

from __future__ import annotations

import logging
import queue
import random
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping

from ...core.deadline import Deadline
from ...core.errors import RemoteRuntimeError, SshError
from ...core.model import Instance
from .close_codes import Close
from .connect import Dialer, relay_url
from .keepalive import Limits, Pulse, Watched
from .messages import Acknowledged, Connected, Data, Ended, Malformed, Resumed, acknowledged, data, parse
from .session import Over, Session
from .tokens import Tokens
from .websocket import Broken, Closed, Wire

log = logging.getLogger(__name__)
_READ_BYTES = 64 << 10
_UNDELIVERED_BYTES = 256 << 10
_UNDELIVERED_PIECES = 1024
_MESSAGES_A_TURN = 256
_LAST_WORDS_S = 2.0
_TICK_S = 0.1
_LONGEST_PAUSE_S = 5.0


def open_passage(
    instance: Instance, *, environ: Mapping[str, str], deadline: Deadline, limits: Limits | None = None
) -> Passage:
    """See ``remote_runtime.compute.iap.open_passage``."""
    url = relay_url(environ)
    first_s = deadline.remaining_s() if limits is None else limits.attempt_s
    passage = Passage(Session(instance, Dialer(url, environ), Tokens(environ, url)), limits or Limits(), first_s)
    try:
        passage.wait_open(deadline)
    except BaseException:
        passage.close()
        raise
    return passage


class Passage:
    """``socket``: a plain one, blocking, for whoever speaks through it; closing or shutting it down ends the passage.
    ``resumed``: how many times the connection to the relay was replaced."""

    def __init__(self, session: Session, limits: Limits, first_s: float) -> None:
        self.socket, self._near = socket.socketpair()
        self._near.setblocking(False)
        self.resumed = 0
        self._why = ""
        self._session = session
        self._ledger = session.ledger
        self._limits = limits
        self._first_s = first_s
        self._opened: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self._undelivered: deque[memoryview] = deque()
        self._undelivered_bytes = 0
        self._near_ended = False
        self._answers_pings = False
        self._called_off = threading.Event()
        self._thread = threading.Thread(target=self._live, name="iap", daemon=True)
        self._thread.start()

    def why_ended(self) -> str:
        """Empty while it is open, and when it was ended from this side."""
        return self._why

    def wait_open(self, deadline: Deadline) -> None:
        while True:
            try:
                error = self._opened.get(timeout=_TICK_S)
            except queue.Empty:
                deadline.check()
                if deadline.passed():
                    what = "Identity-Aware Proxy does not connect"
                    raise SshError("iap-unreachable", what, f"it took more than {deadline.within_s:.0f} s") from None
                continue
            if error is not None:
                raise error
            return

    def close(self) -> None:
        """What was said is sent in the next moments, if it can be."""
        self._called_off.set()
        self._session.abort()
        self.socket.close()

    # ── in the thread

    def _live(self) -> None:
        wire = None
        try:
            wire = self._session.open(Deadline(self._first_s, self._called_off))
            self._opened.put(None)
        except RemoteRuntimeError as error:
            self._opened.put(error)
        finally:
            if wire is None:
                self._near.close()
                self._opened.put(RuntimeError("the thread of the connection through IAP died"))
        if wire is not None:
            self._live_on(wire)

    def _live_on(self, wire: Wire) -> None:
        try:
            while not self._carry(wire):
                wire = self._resume()
        except (Over, Malformed, RemoteRuntimeError) as error:
            self._why = f"the relay broke its protocol: {error}" if isinstance(error, Malformed) else str(error)
            log.info("the connection through IAP ended: %s", self._why)
            self._deliver_the_rest()
        finally:
            self._near.close()

    def _carry(self, wire: Wire) -> bool:
        """Until our side has ended (True), or the connection is gone and the session may be resumed (False)."""
        wire.answers_pings |= self._answers_pings
        try:
            with selectors.DefaultSelector() as selector:
                self._pump(wire, Watched(selector))
            wire.close()
            return True
        except Broken as error:
            log.info("the connection to IAP's relay is lost: %s", error)
        except Closed as error:
            log.info("IAP's relay closed the connection: %s", error)
            self._session.judge(error.close)
        finally:
            self._answers_pings = wire.answers_pings
            wire.drop()
        return False

    def _resume(self) -> Wire:
        """Raises ``Over`` or ``RemoteRuntimeError``."""
        began, attempt = time.monotonic(), 0
        while True:
            try:
                wire = self._session.resume(Deadline(self._limits.attempt_s, self._called_off))
            except Broken as error:
                took = time.monotonic() - began
                log.info("IAP is not back after %.1f s: %s", took, error)
                if took > self._limits.resume_s:
                    raise Over(f"Identity-Aware Proxy was lost for {took:.0f} s: {error}") from error
            else:
                self.resumed += 1
                log.info("resumed through IAP after %.2f s", time.monotonic() - began)
                return wire
            pause_s = min(_LONGEST_PAUSE_S, 0.1 * 2.0**attempt) * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
            self._pause(pause_s)
            attempt += 1

    def _pause(self, seconds: float) -> None:
        """Raises ``Over`` as soon as our side has ended."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._near, selectors.EVENT_READ)
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                if self._called_off.is_set():
                    raise Over("closed here")
                if selector.select(left) and not self._near_says_something():
                    raise Over("closed here")
                time.sleep(min(_TICK_S, max(0.0, until - time.monotonic())))  # what it says waits

    def _near_says_something(self) -> bool:
        try:
            return bool(self._near.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _pump(self, wire: Wire, watched: Watched) -> None:
        pulse = Pulse(wire, self._limits, lambda: self._ledger.unconfirmed > 0)
        end_by: float | None = None
        while True:
            self._send(wire, pulse)
            now = time.monotonic()
            if self._near_ended or self._called_off.is_set():
                end_by = end_by or now + _LAST_WORDS_S
                if now > end_by or (self._near_ended and self._ledger.all_sent and not wire.queued):
                    return
            hungry = self._has_room()
            watched.set(wire.sock, read=hungry, write=bool(wire.queued))
            listens = self._ledger.has_room and self._ledger.all_sent and not self._near_ended
            watched.set(self._near, read=listens, write=bool(self._undelivered))
            wait_s = 0.0 if hungry and wire.pending() else self._wait_s(pulse, busy=not (hungry and listens))
            idle = not watched.wait(wait_s)
            if hungry:
                self._receive(wire)
            else:
                pulse.deaf()
            self._deliver()
            if listens:
                self._listen()
            if self._ledger.owes(idle=idle):
                wire.put(acknowledged(self._ledger.acknowledge()))
            pulse.check()

    def _wait_s(self, pulse: Pulse, *, busy: bool) -> float:
        """``busy``: one of the sides is not listened to, so its end would not wake us."""
        if busy:
            return _TICK_S
        if self._ledger.owes(idle=True):
            return self._limits.acknowledge_after_s
        return pulse.due_in_s()

    def _send(self, wire: Wire, pulse: Pulse) -> None:
        while wire.has_room and (chunk := self._ledger.next()) is not None:
            wire.put(data(chunk))
            pulse.said()
        wire.flush()

    def _listen(self) -> None:
        """To our side."""
        try:
            content = self._near.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            content = b""
        if content:
            self._ledger.take(content)
        else:
            self._near_ended = True

    def _receive(self, wire: Wire) -> None:
        """A part at a time: a relay that never stops must not keep our side waiting, nor fill the memory."""
        for _ in range(_MESSAGES_A_TURN):
            found = wire.next() if self._has_room() else None
            if found is None:
                return
            message = parse(found)
            if isinstance(message, Data):
                self._take(message.content, len(found))
            elif isinstance(message, Acknowledged):
                self._ledger.confirm(message.received)
            elif isinstance(message, Ended):
                raise Closed(Close(message.code, message.reason))
            elif isinstance(message, Connected | Resumed):
                raise Malformed(f"{type(message).__name__} in the middle of a connection")

    def _has_room(self) -> bool:
        return self._undelivered_bytes < _UNDELIVERED_BYTES and len(self._undelivered) < _UNDELIVERED_PIECES

    def _take(self, content: memoryview, kept_bytes: int) -> None:
        """``kept_bytes``: of the message, which lives as long as ``content`` does."""
        self._ledger.received += len(content)
        self._undelivered_bytes += len(content)
        if content:
            self._undelivered.append(content if kept_bytes < 2 * len(content) else memoryview(bytes(content)))

    def _deliver(self) -> None:
        try:
            while self._undelivered:
                first = self._undelivered[0]
                sent = self._near.send(first)
                self._undelivered_bytes -= sent
                if sent < len(first):
                    self._undelivered[0] = first[sent:]
                    return
                self._undelivered.popleft()
        except BlockingIOError:
            return
        except OSError:
            self._undelivered.clear()
            self._undelivered_bytes = 0
            self._near_ended = True

    def _deliver_the_rest(self) -> None:
        """What the machine said before it ended."""
        until = time.monotonic() + _LAST_WORDS_S
        with selectors.DefaultSelector() as selector:
            selector.register(self._near, selectors.EVENT_WRITE)
            while self._undelivered and selector.select(max(0.0, until - time.monotonic())):
                self._deliver()
