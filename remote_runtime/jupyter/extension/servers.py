"""Asks Jupyter servers of this computer whether they have the bridge loaded, and never tells a stranger a token."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import json
import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ...core.errors import UsageError
from ...core.fast_dataclass import fast_dataclass
from ...core.model import MIN_TOKEN_CHARS, Secret
from ...core.sanitize import clean_line

_REPLY_TIMEOUT_S = 5.0
_MAX_REPLY_BYTES = 1 << 20
_MAX_FILE_BYTES = 64 * 1024
_PURPOSE = b"remote-runtime-identity:"


@fast_dataclass(frozen=True)
class ServerStatus:
    """``loaded``: None where it could not be asked, ``why`` says the reason. ``url``: without the token."""

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
    """Why, for the person."""


def check_server(url: str) -> ServerStatus:
    """Ask the server at a URL as a person copies it, with its token in the query.

    Raises ``UsageError`` for what is not an http URL with a port.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
        token = parse_qs(parts.query).get("token", [""])[-1]
    except ValueError:
        host = None
    if not host or parts.scheme != "http":
        what = "The server's URL cannot be understood"
        raise UsageError("usage", what, "it must look like http://localhost:8888/?token=…")
    base = parts.path if parts.path.endswith("/") else parts.path.rpartition("/")[0] + "/"
    return _check(_Address(host, port, base, Secret(token)))


def check_running_servers(runtime: Path) -> tuple[ServerStatus, ...]:
    """Ask every server that wrote a description of itself into Jupyter's runtime folder and still runs."""
    statuses = []
    for file in sorted((*runtime.glob("jpserver-*.json"), *runtime.glob("nbserver-*.json"))):
        try:
            description = json.loads(file.read_text()[:_MAX_FILE_BYTES])
            if not _is_alive(int(description["pid"])):
                continue
            statuses.append(_check_described(description))
        except (OSError, ValueError, KeyError, TypeError):
            # Written at this moment, or by something else: no server that could be asked.
            continue
    return tuple(statuses)


def _check_described(description: dict[str, Any]) -> ServerStatus:
    pid, port, parts = int(description["pid"]), int(description["port"]), urlsplit(str(description["url"]))
    url = clean_line(f"{parts.scheme}://{parts.netloc}{parts.path}", 200)
    if description.get("sock"):
        return ServerStatus(url, pid, None, None, (), "it listens on a unix socket")
    if description.get("secure"):
        return ServerStatus(url, pid, None, None, (), "it speaks https")
    if port == 0:
        # jupyter_server 1 and notebook 6 write down what they were asked for, not what they got.
        return ServerStatus(url, pid, None, None, (), "it does not tell its port; name its URL")
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
        return "it answers without the bridge"
    return "" if origins else "its origins are told only to who knows its token"


def _query(address: _Address) -> tuple[bool, dict[str, Any]]:
    """Whether the bridge is loaded, and what it says of itself."""
    if not _is_loopback(address.host):
        raise _NotCheckable("it is not on this computer, so its token is not sent there")
    token = address.token.reveal()
    nonce = secrets.token_hex(32)
    connection = http.client.HTTPConnection(address.host, address.port, timeout=_REPLY_TIMEOUT_S)
    try:
        connection.connect()
        # A connection made anew could lead to somebody else than the one who proved himself.
        connection.auto_open = 0
        # Where it must say that it listens: somebody else on its port could pass the question on.
        host, port = connection.sock.getpeername()[:2]
        asked = f"{address.base}api/remote-runtime/identity?nonce={nonce}&at={host}:{port}"
        status, proved = _get(connection, asked, {})
        if status == 200 and not token:
            return True, {"bridge": proved.get("bridge")}
        if token and status == 404 and len(token) < MIN_TOKEN_CHARS:
            raise _NotCheckable(f"a token of fewer than {MIN_TOKEN_CHARS} characters is not proved, so it is not sent")
        if token and status != 200:
            return False, {}
        if token and not _is_proof(proved.get("hmac"), token, f"{nonce}@{host}:{port}"):
            raise _NotCheckable(
                "what answers there does not know the server's token, or passes on another server's answer"
            )
        headers = {"Authorization": f"token {token}"} if token else {}
        status, described = _get(connection, f"{address.base}api/remote-runtime", headers)
        return status == 200, described if status == 200 else {}
    except (OSError, http.client.HTTPException) as exc:
        raise _NotCheckable("nothing answers there as a Jupyter server does") from exc
    finally:
        connection.close()


def _get(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    connection.request("GET", path, headers=headers)
    reply = connection.getresponse()
    body = reply.read(_MAX_REPLY_BYTES + 1)
    if len(body) > _MAX_REPLY_BYTES:
        raise _NotCheckable("it answers more than a Jupyter server does")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = {}
    return reply.status, found if isinstance(found, dict) else {}


def _is_proof(shown: Any, token: str, message: str) -> bool:
    proof = hmac.new(token.encode(), _PURPOSE + message.encode(), hashlib.sha256).hexdigest()
    return isinstance(shown, str) and hmac.compare_digest(shown.encode("utf-8", "replace"), proof.encode())


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_alive(pid: int) -> bool:
    if os.name == "nt":
        # There a signal 0 would end the process; a stale file only costs one refused connection.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
