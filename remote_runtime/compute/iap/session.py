"""One session with the relay: opened, and resumed on another connection, each time with a token that is valid then."""

from __future__ import annotations

import selectors

from ...core.deadline import Deadline
from ...core.errors import SshError
from ...core.model import Instance
from .acknowledgements import AckTracker
from .close_codes import Close, explain
from .connect import RelayConnector
from .messages import CloseMessage, Connected, Malformed, Message, Resumed, parse
from .tokens import AccessTokens
from .websocket import ClosedByRelay, ConnectionLost, WebSocketConnection

_RENEWALS = 1
_TICK_S = 0.1


class SessionEnded(Exception):
    """The session cannot go on; why, in words."""


class IapSession:
    def __init__(self, instance: Instance, connector: RelayConnector, tokens: AccessTokens) -> None:
        self.acks = AckTracker()
        self._instance = instance
        self._connector = connector
        self._tokens = tokens
        self._sid = ""
        self._renew_token = False

    def open(self, deadline: Deadline) -> WebSocketConnection:
        """Raises ``RemoteRuntimeError``: see ``open_passage``."""
        instance = self._instance
        query = {
            "project": instance.project or "",
            "zone": instance.zone or "",
            "instance": instance.name,
            "interface": "nic0",
            "port": instance.port,
            "newWebsocket": True,
        }
        for renewals in range(_RENEWALS + 1):
            try:
                return self._handshake("connect", query, deadline)
            except ClosedByRelay as error:
                if error.close.meaning == "renew" and renewals < _RENEWALS:
                    self._renew_token = True
                    continue
                raise explain(error.close, instance) from error
            except ConnectionLost as error:
                what = f"Identity-Aware Proxy's relay at {self._connector.host} does not answer"
                raise SshError("iap-unreachable", what, str(error)) from error
            except Malformed as error:
                what = f"{self._connector.host} does not speak as Identity-Aware Proxy's relay does"
                raise SshError("iap-unreachable", what, str(error)) from error
        raise AssertionError("the last round returns or raises")

    def resume(self, deadline: Deadline) -> WebSocketConnection:
        """Once. Raises ``Broken`` when another try may help, ``Over``, and ``CloudError``."""
        query = {
            "sid": self._sid,
            "ack": self.acks.received,
            "zone": self._instance.zone or "",
            "newWebsocket": True,
        }
        try:
            return self._handshake("reconnect", query, deadline)
        except ClosedByRelay as error:
            self.check_close(error.close)
            raise ConnectionLost(f"the relay closed the connection: {error.close}") from error
        except Malformed as error:
            raise SessionEnded(f"the relay broke its protocol: {error}") from error

    def check_close(self, close: Close) -> None:
        """Returns when the session can be resumed. Raises ``Over``."""
        meaning = close.meaning
        if meaning == "over":
            raise SessionEnded(f"the machine closed the connection ({close})")
        if meaning == "forgotten":
            raise SessionEnded(f"Identity-Aware Proxy has given the connection up ({close})")
        if meaning in ("refused", "not yet"):
            raise SessionEnded(str(explain(close, self._instance)))
        self._renew_token = meaning == "renew"

    def abort(self) -> None:
        """From another thread: no connection is made any more."""
        self._connector.abort()

    def _handshake(self, verb: str, query: dict[str, object], deadline: Deadline) -> WebSocketConnection:
        token = self._tokens.get(renew=self._renew_token)
        self._renew_token = False
        connection = self._connector.connect(verb, query, token, deadline)
        try:
            first = _first_message(connection, deadline)
            if isinstance(first, Connected) and not self._sid:
                self._sid = first.sid
            elif isinstance(first, Resumed) and self._sid:
                self.acks.on_resume(first.received)
            else:
                raise Malformed(f"it begins with {type(first).__name__}")
        except BaseException:
            connection.drop()
            raise
        return connection


def _first_message(connection: WebSocketConnection, deadline: Deadline) -> Message:
    with selectors.DefaultSelector() as selector:
        selector.register(connection.sock, selectors.EVENT_READ)
        while not deadline.passed():
            raw_message = connection.next_message()
            if raw_message is not None and (message := parse(raw_message)) is not None:
                if isinstance(message, CloseMessage):
                    raise ClosedByRelay(Close(message.code, message.reason))
                return message
            if raw_message is None and not connection.pending():
                selector.select(min(_TICK_S, deadline.remaining_s()))
            deadline.check()
    raise ConnectionLost(f"it does not begin within {deadline.timeout_s:.0f} s")
