"""One session with the relay: opened, and resumed on another connection, each time with a token that is valid then."""

from __future__ import annotations

import selectors

from ...core.deadline import Deadline
from ...core.errors import SshError
from ...core.model import Instance
from .acknowledgements import Ledger
from .close_codes import Close, explain
from .connect import Dialer
from .messages import Connected, Ended, Malformed, Message, Resumed, parse
from .tokens import Tokens
from .websocket import Broken, Closed, Wire

_RENEWALS = 1
_TICK_S = 0.1


class Over(Exception):
    """The session cannot go on; why, in words."""


class Session:
    def __init__(self, instance: Instance, dialer: Dialer, tokens: Tokens) -> None:
        self.ledger = Ledger()
        self._instance = instance
        self._dialer = dialer
        self._tokens = tokens
        self._sid = ""
        self._renew = False

    def open(self, deadline: Deadline) -> Wire:
        """Raises ``RemoteRuntimeError``: see ``open_passage``."""
        place = self._instance
        query = {
            "project": place.project or "",
            "zone": place.zone or "",
            "instance": place.name,
            "interface": "nic0",
            "port": place.port,
            "newWebsocket": True,
        }
        for renewals in range(_RENEWALS + 1):
            try:
                return self._greet("connect", query, deadline)
            except Closed as error:
                if error.close.meaning == "renew" and renewals < _RENEWALS:
                    self._renew = True
                    continue
                raise explain(error.close, place) from error
            except Broken as error:
                what = f"Identity-Aware Proxy's relay at {self._dialer.host} does not answer"
                raise SshError("iap-unreachable", what, str(error)) from error
            except Malformed as error:
                what = f"{self._dialer.host} does not speak as Identity-Aware Proxy's relay does"
                raise SshError("iap-unreachable", what, str(error)) from error
        raise AssertionError("the last round returns or raises")

    def resume(self, deadline: Deadline) -> Wire:
        """Once. Raises ``Broken`` when another try may help, ``Over``, and ``CloudError``."""
        query = {
            "sid": self._sid,
            "ack": self.ledger.received,
            "zone": self._instance.zone or "",
            "newWebsocket": True,
        }
        try:
            return self._greet("reconnect", query, deadline)
        except Closed as error:
            self.judge(error.close)
            raise Broken(f"the relay closed the connection: {error.close}") from error
        except Malformed as error:
            raise Over(f"the relay broke its protocol: {error}") from error

    def judge(self, close: Close) -> None:
        """Returns when the session can be resumed. Raises ``Over``."""
        meaning = close.meaning
        if meaning == "over":
            raise Over(f"the machine closed the connection ({close})")
        if meaning == "forgotten":
            raise Over(f"Identity-Aware Proxy has given the connection up ({close})")
        if meaning in ("refused", "not yet"):
            raise Over(str(explain(close, self._instance)))
        self._renew = meaning == "renew"

    def abort(self) -> None:
        """From another thread: no connection is made any more."""
        self._dialer.abort()

    def _greet(self, verb: str, query: dict[str, object], deadline: Deadline) -> Wire:
        token = self._tokens.fresh(renew=self._renew)
        self._renew = False
        wire = self._dialer.dial(verb, query, token, deadline)
        try:
            first = _first_message(wire, deadline)
            if isinstance(first, Connected) and not self._sid:
                self._sid = first.sid
            elif isinstance(first, Resumed) and self._sid:
                self.ledger.resume(first.received)
            else:
                raise Malformed(f"it begins with {type(first).__name__}")
        except BaseException:
            wire.drop()
            raise
        return wire


def _first_message(wire: Wire, deadline: Deadline) -> Message:
    with selectors.DefaultSelector() as selector:
        selector.register(wire.sock, selectors.EVENT_READ)
        while not deadline.passed():
            found = wire.next()
            if found is not None and (message := parse(found)) is not None:
                if isinstance(message, Ended):
                    raise Closed(Close(message.code, message.reason))
                return message
            if found is None and not wire.pending():
                selector.select(min(_TICK_S, deadline.remaining_s()))
            deadline.check()
    raise Broken(f"it does not begin within {deadline.within_s:.0f} s")
