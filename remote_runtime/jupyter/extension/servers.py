"""Checks whether Jupyter servers of this computer have loaded the bridge. Sends the token only to a server that
authenticates with it."""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ...core.errors import UsageError
from ...core.fast_dataclass import fast_dataclass
from ...core.model import MIN_TOKEN_CHARS, Secret
from ...core.sanitize import clean_line
from ...tunnel.identity import challenge, is_proof

_REPLY_TIMEOUT_S = 5.0
_MAX_REPLY_BYTES = 1 << 20
_MAX_FILE_BYTES = 64 * 1024


@fast_dataclass(frozen=True)
class ServerStatus:
    """``loaded``: None if it could not be checked; ``why`` is the reason. ``url``: without the token."""

    url: str
    pid: int | None
    loaded: bool | None
    bridge: str | None
    origins: tuple[str, ...]
    why: str


@fast_dataclass(frozen=True)
class _Address:
    host: str
    port: int
    base: str
    token: Secret
    pid: int | None = None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{self.base}"


class _NotCheckable(Exception):
    """The message is the reason, for people."""


def check_server(url: str) -> ServerStatus:
    """Check the server at ``url``, as Jupyter prints it, with the token in the query.

    Raises ``UsageError`` if it is no http URL.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
        token = parse_qs(parts.query).get("token", [""])[-1]
    except ValueError:
        host = None
    if not host or parts.scheme != "http":
        what = "Invalid server URL"
        raise UsageError("usage", what, "expected a URL such as http://localhost:8888/?token=…")
    base = parts.path if parts.path.endswith("/") else parts.path.rpartition("/")[0] + "/"
    return _check(_Address(host, port, base, Secret(token)))


def check_running_servers(runtime: Path) -> tuple[ServerStatus, ...]:
    """Check every running server that has described itself in Jupyter's runtime folder."""
    statuses = []
    for file in sorted((*runtime.glob("jpserver-*.json"), *runtime.glob("nbserver-*.json"))):
        try:
            description = json.loads(file.read_text()[:_MAX_FILE_BYTES])
            if not _is_alive(int(description["pid"])):
                continue
            statuses.append(_check_described(description))
        except (OSError, ValueError, KeyError, TypeError):
            # Just being written, or not a server's description.
            continue
    return tuple(statuses)


def _check_described(description: dict[str, Any]) -> ServerStatus:
    pid, port, parts = int(description["pid"]), int(description["port"]), urlsplit(str(description["url"]))
    url = clean_line(f"{parts.scheme}://{parts.netloc}{parts.path}", 200)
    if description.get("sock"):
        return ServerStatus(url, pid, None, None, (), "it listens on a Unix socket")
    if description.get("secure"):
        return ServerStatus(url, pid, None, None, (), "it uses HTTPS")
    if port == 0:
        # jupyter_server 1 and notebook 6 write the port that was requested, not the one that they got.
        return ServerStatus(url, pid, None, None, (), "its port is unknown; pass its URL")
    host = "127.0.0.1" if description["hostname"] in ("", "0.0.0.0", "::") else str(description["hostname"])  # noqa: S104  compared, not bound
    base = str(description.get("base_url") or "/")
    return _check(_Address(host, port, base, Secret(str(description.get("token") or "")), pid))


def _check(address: _Address) -> ServerStatus:
    try:
        loaded, description = _query(address)
    except _NotCheckable as reason:
        return ServerStatus(address.url, address.pid, None, None, (), str(reason))
    origins = description.get("origins")
    version = description.get("bridge")
    return ServerStatus(
        url=address.url,
        pid=address.pid,
        loaded=loaded,
        bridge=clean_line(version, 40) if isinstance(version, str) else None,
        origins=tuple(clean_line(str(each), 200) for each in origins[:50]) if isinstance(origins, list) else (),
        why=_why(loaded=loaded, origins=origins),
    )


def _why(*, loaded: bool, origins: Any) -> str:
    if not loaded:
        return "it responds without the bridge"
    return "" if origins else "its origins are shown only with its token"


def _query(address: _Address) -> tuple[bool, dict[str, Any]]:
    """Whether the bridge is loaded, and its description of itself."""
    if not _is_loopback(address.host):
        raise _NotCheckable("it is not on this computer, so its token was not sent")
    token = address.token.reveal()
    connection = http.client.HTTPConnection(address.host, address.port, timeout=_REPLY_TIMEOUT_S)
    try:
        connection.connect()
        # A new connection could reach another process than the one that proved its identity.
        connection.auto_open = 0
        # With its address, so that another program on its port cannot relay the request to it.
        host, port = connection.sock.getpeername()[:2]
        path, expected = challenge(address.token, f"{host}:{port}")
        status, proved = _get(connection, address.base + path[1:], {})
        if status == 200 and not token:
            return True, {"bridge": proved.get("bridge")}
        if token and status == 404 and len(token) < MIN_TOKEN_CHARS:
            raise _NotCheckable(
                f"a token of fewer than {MIN_TOKEN_CHARS} characters can't be verified, so it was not sent"
            )
        if token and status != 200:
            return False, {}
        if token and not is_proof(proved.get("hmac"), expected):
            raise _NotCheckable(
                "the process that listens there does not have the server's token, or relays another server"
            )
        headers = {"Authorization": f"token {token}"} if token else {}
        status, described = _get(connection, f"{address.base}api/remote-runtime", headers)
        return status == 200, described if status == 200 else {}
    except (OSError, http.client.HTTPException) as exc:
        raise _NotCheckable("no Jupyter server responds there") from exc
    finally:
        connection.close()


def _get(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    connection.request("GET", path, headers=headers)
    reply = connection.getresponse()
    body = reply.read(_MAX_REPLY_BYTES + 1)
    if len(body) > _MAX_REPLY_BYTES:
        raise _NotCheckable("its response is too long")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = {}
    return reply.status, found if isinstance(found, dict) else {}


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_alive(pid: int) -> bool:
    try:
        if os.name != "nt":  # there a signal 0 would end the process
            os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
