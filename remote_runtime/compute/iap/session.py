"""One session with the relay: opens it, and resumes it on another connection, each time with a valid token."""

from __future__ import annotations

import functools
import selectors
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...core.deadline import Deadline
from ...core.errors import SshError
from ...core.model import Instance
from ..client import auth_errors, credentials
from .acknowledgements import AckTracker
from .close_codes import Close, explain
from .connect import RelayConnector
from .messages import CloseMessage, Connected, Malformed, Message, Resumed, parse
from .websocket import ClosedByRelay, ConnectionLost, WebSocketConnection

if TYPE_CHECKING:
    from requests.adapters import HTTPAdapter

_REQUEST_TIMEOUT_S = 10.0
_RENEWALS = 1
_TICK_S = 0.1


class SessionEnded(Exception):
    """The session cannot be resumed; the text says why."""


class IapSession:
    def __init__(self, instance: Instance, connector: RelayConnector, tokens: AccessTokens) -> None:
        self.acks = AckTracker()
        self._instance = instance
        self._connector = connector
        self._tokens = tokens
        self._sid = ""
        self._renew_token = False

    def open(self, deadline: Deadline) -> WebSocketConnection:
        """Raises ``RemoteRuntimeError``: see ``compute.open_tunnel``."""
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
                if error.close.meaning == "renew_token" and renewals < _RENEWALS:
                    self._renew_token = True
                    continue
                raise explain(error.close, instance) from error
            except ConnectionLost as error:
                what = f"Can't reach Identity-Aware Proxy's relay at {self._connector.host}"
                raise SshError("iap-unreachable", what, str(error)) from error
            except Malformed as error:
                what = f"{self._connector.host} is not an Identity-Aware Proxy relay"
                raise SshError("iap-unreachable", what, str(error)) from error
        raise AssertionError("the last round returns or raises")

    def resume(self, deadline: Deadline) -> WebSocketConnection:
        """One attempt. Raises ``ConnectionLost`` if a retry may succeed, ``SessionEnded``, and ``CloudError``."""
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
        """Returns if the session can be resumed. Raises ``SessionEnded``."""
        meaning = close.meaning
        if meaning == "finished":
            raise SessionEnded(f"the machine closed the connection ({close})")
        if meaning == "session_lost":
            raise SessionEnded(f"Identity-Aware Proxy ended the connection ({close})")
        if meaning in ("refused", "retry_later"):
            raise SessionEnded(str(explain(close, self._instance)))
        self._renew_token = meaning == "renew_token"

    def abort(self) -> None:
        """Interrupts a connection attempt, from another thread."""
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
                raise Malformed(f"its first message is {type(first).__name__}")
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
    raise ConnectionLost(f"it sent no message within {deadline.timeout_s:.0f} s")


class AccessTokens:
    """``url``: the relay's."""

    def __init__(self, environ: Mapping[str, str], url: str) -> None:
        self._environ = environ
        self._url = url.replace("ws", "http", 1)
        self._identity: credentials.Identity | None = None

    def get(self, *, renew: bool) -> str | None:
        """A valid token; None if the environment disables credentials. ``renew``: the previous token was refused.

        Raises ``CloudError`` ``no-credentials``, and ``ConnectionLost`` if Google's sign-in does not respond.
        """
        if renew or self._identity is None or self._identity.credentials.expiry is None:
            self._identity = credentials.load(self._environ, self._url)  # the files may have changed
        if not self._identity.credentials.valid:
            try:
                _refresh(self._identity)
            except auth_errors.SignInUnavailable as error:
                raise ConnectionLost(str(error)) from None
        return self._identity.credentials.token


def _refresh(identity: credentials.Identity) -> None:
    import requests
    from google.auth.transport.requests import Request

    with requests.Session() as session:
        # Plain HTTP is used only for this computer and its metadata server (``credentials.load``): without a proxy.
        session.mount("http://", no_proxy_adapter())
        credentials.refresh(identity, functools.partial(Request(session), timeout=_REQUEST_TIMEOUT_S))


def no_proxy_adapter() -> HTTPAdapter:
    """An adapter that ignores the environment's proxy."""
    from requests.adapters import HTTPAdapter

    class NoProxyAdapter(HTTPAdapter):
        def send(self, request: Any, *args: Any, **options: Any) -> Any:
            return super().send(request, *args, **{**options, "proxies": {}})

    return NoProxyAdapter()
