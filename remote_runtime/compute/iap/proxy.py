"""The proxy that the environment names for the way to the relay."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed leaves it out

from ..client import gcloud_config
from ..client.transport_errors import is_proxy
from .websocket import Broken

_ANSWER_LIMIT_BYTES = 16384


def proxy_for(relay: SplitResult, environ: Mapping[str, str]) -> SplitResult | None:
    """What ``https_proxy`` or ``HTTPS_PROXY`` names, unless ``no_proxy`` excepts the relay. Raises ``Broken``."""
    words = {name.lower(): value for name, value in environ.items() if value and name.lower().endswith("_proxy")}
    words |= {name: value for name, value in environ.items() if value and name.endswith("_proxy")}
    proxy = words.get("https_proxy") or words.get("all_proxy")
    at = f"{relay.hostname}:{relay.port}" if relay.port else relay.hostname or ""
    if (
        not proxy
        or gcloud_config.on_loopback(relay.geturl())
        or proxy_bypass_environment(at, {"no": words.get("no_proxy", "")})
    ):
        return None
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        is_address = is_proxy(proxy) or parts.scheme.startswith("socks")
    except ValueError:  # its words have a part of the address
        is_address = False
    if not is_address:
        raise Broken("HTTPS_PROXY is no address of a proxy; it takes http://HOST:PORT")
    if parts.scheme != "http":
        raise Broken(f"HTTPS_PROXY names a proxy of kind {parts.scheme}://, and only http:// can be used")
    return parts


def ask_proxy(sock: socket.socket, proxy: SplitResult, target: str, left_s: Callable[[], float]) -> None:
    """HTTP's CONNECT (RFC 9110 9.3.6). ``left_s``: for the next wait. Raises ``Broken``, ``OSError``."""
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.username is not None:
        words = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(words).decode()}")
    sock.settimeout(left_s())
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):  # the relay says nothing before we do
        sock.settimeout(left_s())
        part = sock.recv(1)
        answer += part
        if not part or len(answer) > _ANSWER_LIMIT_BYTES:
            raise Broken(f"the proxy {proxy.hostname} closed the connection")
    status = answer.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(status) < 2 or status[1] != b"200":
        said = b" ".join(status[1:]).decode("ascii", "replace")[:100]
        raise Broken(f"the proxy {proxy.hostname} refuses to connect to {target}: {said}")
