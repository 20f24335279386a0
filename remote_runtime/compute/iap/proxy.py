"""The proxy that the environment names for the way to the relay."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed leaves it out

from ..client import gcloud_config
from ..client.transport_errors import is_proxy_url
from .websocket import ConnectionLost

_MAX_RESPONSE_BYTES = 16384


def proxy_for(relay: SplitResult, environ: Mapping[str, str]) -> SplitResult | None:
    """What ``https_proxy`` or ``HTTPS_PROXY`` names, unless ``no_proxy`` excepts the relay. Raises ``Broken``."""
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
    except ValueError:  # its words have a part of the address
        is_address = False
    if not is_address:
        raise ConnectionLost("HTTPS_PROXY is no address of a proxy; it takes http://HOST:PORT")
    if parts.scheme != "http":
        raise ConnectionLost(f"HTTPS_PROXY names a proxy of kind {parts.scheme}://, and only http:// can be used")
    return parts


def connect_through_proxy(
    sock: socket.socket, proxy: SplitResult, target: str, remaining_s: Callable[[], float]
) -> None:
    """HTTP's CONNECT (RFC 9110 9.3.6). ``left_s``: for the next wait. Raises ``Broken``, ``OSError``."""
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.username is not None:
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(login).decode()}")
    sock.settimeout(remaining_s())
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    response = b""
    while not response.endswith(b"\r\n\r\n"):  # the relay says nothing before we do
        sock.settimeout(remaining_s())
        part = sock.recv(1)
        response += part
        if not part or len(response) > _MAX_RESPONSE_BYTES:
            raise ConnectionLost(f"the proxy {proxy.hostname} closed the connection")
    status = response.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(status) < 2 or status[1] != b"200":
        reason = b" ".join(status[1:]).decode("ascii", "replace")[:100]
        raise ConnectionLost(f"the proxy {proxy.hostname} refuses to connect to {target}: {reason}")
