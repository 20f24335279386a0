"""To the relay: through the environment's proxy, over TLS that is always verified, to an open WebSocket."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import urlencode, urlsplit

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol
from websockets.uri import parse_uri

from ..._version import __version__
from ...core.deadline import Deadline
from ...core.errors import SshError
from ..client import gcloud_config
from .close_codes import Close
from .messages import ORIGIN, SUBPROTOCOL
from .proxy import ask_proxy, proxy_for
from .websocket import Broken, Closed, Wire

DEFAULT_URL = "wss://tunnel.cloudproxy.app/v4"
URL_NAME = "REMOTE_RUNTIME_IAP_URL"
_ADDRESS_S = 5.0
_ANSWER_LIMIT_BYTES = 16384
_MESSAGE_LIMIT_BYTES = 64 << 10

# Its debug log would have the token.
_log = logging.getLogger(f"{__name__}.websocket")
_log.setLevel(logging.WARNING)


def relay_url(environ: Mapping[str, str]) -> str:
    """Google's, or what ``REMOTE_RUNTIME_IAP_URL`` says. Raises ``SshError`` ``iap-unreachable``."""
    url = environ.get(URL_NAME, "").strip().rstrip("/") or DEFAULT_URL
    if gcloud_config.is_url(url, "ws", "wss") and gcloud_config.may_carry_credentials(url):
        return url
    named = "has a user name in it" if "@" in url else f"is {url!r:.200}"
    raise SshError(
        "iap-unreachable",
        "The address of Identity-Aware Proxy's relay cannot be used",
        f"{URL_NAME} {named}; it takes wss://HOST/v4, and ws:// only for this computer",
        f"Correct {URL_NAME}, or unset it",
    )


@dataclass
class Dialer:
    """``url``: as from ``relay_url``. ``abort`` may be called from another thread and ends what is going on."""

    url: str
    environ: Mapping[str, str]
    _sock: socket.socket | None = field(default=None, init=False)
    _aborted: bool = field(default=False, init=False)

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    def dial(self, verb: str, query: Mapping[str, object], token: str | None, deadline: Deadline) -> Wire:
        """``verb``: ``connect`` or ``reconnect``. Raises ``Broken``, and ``Closed`` with a refusal's HTTP status."""
        try:
            sock = self._open(deadline)
            try:
                return self._shake_hands(sock, f"{self.url}/{verb}?{urlencode(query)}", token, deadline)
            except BaseException:
                sock.close()
                raise
            finally:
                self._sock = None
        except TimeoutError as error:
            raise Broken(f"it does not answer within {deadline.within_s:.0f} s") from error
        except ssl.SSLCertVerificationError as error:
            raise Broken(f"its certificate cannot be verified: {error.verify_message}") from error
        except OSError as error:
            raise Broken((error.strerror or str(error)).lower()) from error

    def abort(self) -> None:
        self._aborted = True
        sock = self._sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it ended by itself

    def _keep(self, sock: socket.socket) -> None:
        self._sock = sock
        if self._aborted:
            raise Broken("called off")

    def _open(self, deadline: Deadline) -> socket.socket:
        relay = urlsplit(self.url)
        host, port = relay.hostname or "", relay.port or (443 if relay.scheme == "wss" else 80)
        proxy = proxy_for(relay, self.environ)
        if proxy is None:
            sock = self._connect(host, port, deadline)
        else:
            sock = self._connect(proxy.hostname or "", proxy.port or 80, deadline)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if proxy is not None:
                ask_proxy(sock, proxy, f"{host}:{port}", lambda: _left(deadline))
            if relay.scheme == "wss":
                sock.settimeout(_left(deadline))
                sock = self._tls.wrap_socket(sock, server_hostname=host)
                self._keep(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def _connect(self, host: str, port: int, deadline: Deadline) -> socket.socket:
        """Every address in turn: one that swallows packets must not take the time of the others."""
        trouble: OSError = OSError(f"{host} has no address")
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for number, (family, _, _, _, address) in enumerate(addresses, 1):
            left_s = _left(deadline)
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                self._keep(sock)
                sock.settimeout(left_s if number == len(addresses) else min(_ADDRESS_S, left_s))
                sock.connect(address)
            except OSError as error:
                sock.close()
                trouble = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise trouble

    def _shake_hands(self, sock: socket.socket, url: str, token: str | None, deadline: Deadline) -> Wire:
        protocol = ClientProtocol(
            parse_uri(url),
            origin=Origin(ORIGIN),
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            max_size=_MESSAGE_LIMIT_BYTES,
            logger=_log,
        )
        request = protocol.connect()
        request.headers["User-Agent"] = f"remote-runtime/{__version__}"
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        protocol.send_request(request)
        for part in protocol.data_to_send():
            sock.settimeout(_left(deadline))
            sock.sendall(part)
        while protocol.handshake_exc is None and protocol.state.name == "CONNECTING":
            sock.settimeout(_left(deadline))
            content = sock.recv(_ANSWER_LIMIT_BYTES)
            if not content:
                raise Broken("it closed the connection instead of an answer")
            protocol.receive_data(content)
        if isinstance(protocol.handshake_exc, InvalidStatus):
            raise Closed(Close(protocol.handshake_exc.response.status_code))
        if protocol.handshake_exc is not None:
            raise Broken(f"what answers is no relay: {protocol.handshake_exc}")
        return Wire(sock, protocol)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """The system's authorities (``SSL_CERT_FILE`` names others), and certifi's where the system has none, as with
        python.org's Python for macOS."""
        context = ssl.create_default_context()
        paths = ssl.get_default_verify_paths()
        if paths.cafile is None and paths.capath is None:
            import certifi

            context.load_verify_locations(certifi.where())
        return context


def _left(deadline: Deadline) -> float:
    left = deadline.remaining_s()
    if left <= 0:
        raise TimeoutError
    return left
