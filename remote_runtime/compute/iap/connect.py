"""Connects to the relay: through the environment's proxy, over verified TLS, up to the WebSocket handshake."""

from __future__ import annotations

import base64
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import SplitResult, unquote, urlencode, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed leaves it out

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol
from websockets.uri import parse_uri

from ..._version import __version__
from ...core.deadline import Deadline
from ...core.errors import SshError
from ..client import gcloud_config
from ..client.transport_errors import is_proxy_url
from .close_codes import Close
from .messages import ORIGIN, SUBPROTOCOL
from .websocket import ClosedByRelay, ConnectionLost, WebSocketConnection

DEFAULT_URL = "wss://tunnel.cloudproxy.app/v4"
URL_VARIABLE = "REMOTE_RUNTIME_IAP_URL"
_ADDRESS_TIMEOUT_S = 5.0
_MAX_RESPONSE_BYTES = 16384
_MAX_MESSAGE_BYTES = 64 << 10

# Its debug log would contain the token.
_log = logging.getLogger(f"{__name__}.websocket")
_log.setLevel(logging.WARNING)


def relay_url(environ: Mapping[str, str]) -> str:
    """Google's relay, or ``REMOTE_RUNTIME_IAP_URL``. Raises ``SshError`` ``iap-unreachable``."""
    url = environ.get(URL_VARIABLE, "").strip().rstrip("/") or DEFAULT_URL
    if gcloud_config.is_url(url, "ws", "wss") and gcloud_config.may_carry_credentials(url):
        return url
    problem = "has a user name in it" if "@" in url else f"is {url!r:.200}"
    raise SshError(
        "iap-unreachable",
        "Invalid address of Identity-Aware Proxy's relay",
        f"{URL_VARIABLE} {problem}; expected wss://HOST/v4, or ws:// for this computer",
        f"Correct {URL_VARIABLE}, or unset it",
    )


@dataclass
class RelayConnector:
    """``url``: as from ``relay_url``. ``abort`` may be called from another thread and interrupts ``connect``."""

    url: str
    environ: Mapping[str, str]
    _sock: socket.socket | None = field(default=None, init=False)
    _aborted: bool = field(default=False, init=False)

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    def connect(
        self, verb: str, query: Mapping[str, object], token: str | None, deadline: Deadline
    ) -> WebSocketConnection:
        """``verb``: ``connect`` or ``reconnect``. Raises ``ConnectionLost``, and ``ClosedByRelay`` with the HTTP status
        of a refusal."""
        try:
            sock = self._open(deadline)
            try:
                return self._handshake(sock, f"{self.url}/{verb}?{urlencode(query)}", token, deadline)
            except BaseException:
                sock.close()
                raise
            finally:
                self._sock = None
        except TimeoutError as error:
            raise ConnectionLost(f"no response within {deadline.timeout_s:.0f} s") from error
        except ssl.SSLCertVerificationError as error:
            raise ConnectionLost(f"its certificate can't be verified: {error.verify_message}") from error
        except OSError as error:
            raise ConnectionLost((error.strerror or str(error)).lower()) from error

    def abort(self) -> None:
        self._aborted = True
        sock = self._sock
        if sock is not None:
            with contextlib.suppress(OSError):  # already closed
                sock.shutdown(socket.SHUT_RDWR)

    def _set_current(self, sock: socket.socket) -> None:
        self._sock = sock
        if self._aborted:
            raise ConnectionLost("cancelled")

    def _open(self, deadline: Deadline) -> socket.socket:
        relay = urlsplit(self.url)
        host, port = relay.hostname or "", relay.port or (443 if relay.scheme == "wss" else 80)
        proxy = proxy_for(relay, self.environ)
        first = (host, port) if proxy is None else (proxy.hostname or "", proxy.port or 80)
        sock = self._connect_tcp(*first, deadline)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if proxy is not None:
                connect_through_proxy(sock, proxy, f"{host}:{port}", lambda: _remaining_s(deadline))
            if relay.scheme == "wss":
                sock.settimeout(_remaining_s(deadline))
                sock = self._tls.wrap_socket(sock, server_hostname=host)
                self._set_current(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def _connect_tcp(self, host: str, port: int, deadline: Deadline) -> socket.socket:
        """Tries each address; one that drops packets gets a part of the time only."""
        last_error: OSError = OSError(f"{host} has no address")
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for number, (family, _, _, _, address) in enumerate(addresses, 1):
            left_s = _remaining_s(deadline)
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                self._set_current(sock)
                sock.settimeout(left_s if number == len(addresses) else min(_ADDRESS_TIMEOUT_S, left_s))
                sock.connect(address)
            except OSError as error:
                sock.close()
                last_error = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise last_error

    def _handshake(self, sock: socket.socket, url: str, token: str | None, deadline: Deadline) -> WebSocketConnection:
        protocol = ClientProtocol(
            parse_uri(url),
            origin=Origin(ORIGIN),
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            max_size=_MAX_MESSAGE_BYTES,
            logger=_log,
        )
        request = protocol.connect()
        request.headers["User-Agent"] = f"remote-runtime/{__version__}"
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        protocol.send_request(request)
        for part in protocol.data_to_send():
            sock.settimeout(_remaining_s(deadline))
            sock.sendall(part)
        while protocol.handshake_exc is None and protocol.state.name == "CONNECTING":
            sock.settimeout(_remaining_s(deadline))
            content = sock.recv(_MAX_RESPONSE_BYTES)
            if not content:
                raise ConnectionLost("it closed the connection without a response")
            protocol.receive_data(content)
        if isinstance(protocol.handshake_exc, InvalidStatus):
            raise ClosedByRelay(Close(protocol.handshake_exc.response.status_code))
        if protocol.handshake_exc is not None:
            raise ConnectionLost(f"it is not a relay: {protocol.handshake_exc}")
        return WebSocketConnection(sock, protocol)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Trusts the system's certificates (or ``SSL_CERT_FILE``), and certifi's if the system has none, as with
        python.org's Python for macOS."""
        context = ssl.create_default_context()
        paths = ssl.get_default_verify_paths()
        if paths.cafile is None and paths.capath is None:
            import certifi

            context.load_verify_locations(certifi.where())
        return context


def _remaining_s(deadline: Deadline) -> float:
    left = deadline.remaining_s()
    if left <= 0:
        raise TimeoutError
    return left


def proxy_for(relay: SplitResult, environ: Mapping[str, str]) -> SplitResult | None:
    """The proxy in ``https_proxy`` or ``all_proxy``, unless ``no_proxy`` excludes the relay. Raises
    ``ConnectionLost``."""
    variables = {name.lower(): value for name, value in environ.items() if value and name.lower().endswith("_proxy")}
    variables |= {name: value for name, value in environ.items() if value and name.endswith("_proxy")}
    proxy = variables.get("https_proxy") or variables.get("all_proxy")
    relay_address = f"{relay.hostname}:{relay.port}" if relay.port else relay.hostname or ""
    if (
        not proxy
        or gcloud_config.is_on_loopback(relay.geturl())
        or proxy_bypass_environment(relay_address, {"no": variables.get("no_proxy", "")})
    ):
        return None
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        is_address = is_proxy_url(proxy) or parts.scheme.startswith("socks")
    except ValueError:  # its message contains a part of the address
        is_address = False
    if not is_address:
        raise ConnectionLost("HTTPS_PROXY is invalid; expected http://HOST:PORT")
    if parts.scheme != "http":
        raise ConnectionLost(f"HTTPS_PROXY is a {parts.scheme}:// proxy; only http:// is supported")
    return parts


def connect_through_proxy(
    sock: socket.socket, proxy: SplitResult, target: str, remaining_s: Callable[[], float]
) -> None:
    """HTTP CONNECT (RFC 9110, 9.3.6). ``remaining_s``: the timeout of the next read or write. Raises
    ``ConnectionLost``, ``OSError``."""
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.username is not None:
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(login).decode()}")
    sock.settimeout(remaining_s())
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    response = b""
    while not response.endswith(b"\r\n\r\n"):  # byte by byte: TLS follows
        sock.settimeout(remaining_s())
        part = sock.recv(1)
        response += part
        if not part or len(response) > _MAX_RESPONSE_BYTES:
            raise ConnectionLost(f"the proxy {proxy.hostname} closed the connection")
    status = response.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(status) < 2 or status[1] != b"200":
        reason = b" ".join(status[1:]).decode("ascii", "replace")[:100]
        raise ConnectionLost(f"the proxy {proxy.hostname} refused to connect to {target}: {reason}")
