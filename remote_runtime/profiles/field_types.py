"""The shapes that know something of the world: Google's names, SSH hosts, web origins, forwards, paths."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..core.frozen import dataclass
from ..core.profile import ExtraForward
from .validation_errors import quoted, wrong
from .value_types import Port, Schema, Text, port_number, scalar
from .yaml_nodes import kind_of, tag_of

if TYPE_CHECKING:
    from yaml.nodes import Node

# Sources: https://cloud.google.com/compute/docs/naming-resources and
# https://cloud.google.com/resource-manager/docs/creating-managing-projects
INSTANCE = Text("lower-case letters, digits and -, first a letter, at most 63", "[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
_PROJECT_RULE = "(?:[a-z0-9.-]{1,63}\\.[a-z]{2,63}:[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?|[a-z][a-z0-9-]{4,28}[a-z0-9])"
PROJECT = Text("a project ID (6 to 30 lower-case letters, digits and -), not its name or number", _PROJECT_RULE)


def _refuse_region(text: str) -> tuple[str, str] | None:
    if re.fullmatch("[a-z]+-[a-z]+[0-9]+", text):
        return f"{quoted(text)} is a region, not a zone", f"a zone such as {text}-a"
    return None


ZONE = Text("a zone such as us-central1-a", "[a-z]+-[a-z]+[0-9]+-[a-z0-9]{1,8}", _refuse_region)


def _refuse_label(text: str, *, is_key: bool) -> tuple[str, str] | None:
    """International letters are allowed, upper case is not:
    https://cloud.google.com/compute/docs/labeling-resources#requirements."""
    fits = all(letter in "_-" or unicodedata.category(letter)[0:2] in ("Ll", "Lo", "Nd") for letter in text)
    starts_well = not is_key or (text and unicodedata.category(text[0]) in ("Ll", "Lo"))
    if fits and starts_well:
        return None
    return f"{quoted(text)} does not fit", "lower-case letters, digits, _ and -" + (", first a letter" * is_key)


LABEL_KEY = Text("a label's key", check=lambda text: _refuse_label(text, is_key=True), most_characters=63)
LABEL_VALUE = Text("a label's value", check=lambda text: _refuse_label(text, is_key=False), most_characters=63)


def _refuse_host(text: str) -> tuple[str, str] | None:
    allowed = "a host name, an address, or a Host of ~/.ssh/config"
    if "@" in text:
        return f"{quoted(text)} names a user", "put the user under ssh.user"
    if re.fullmatch("[^:]+:[0-9]+|\\[.*\\]:[0-9]+", text):
        return f"{quoted(text)} names a port", "put the port under target.port"
    if text.startswith("[") and text.endswith("]"):
        return f"{quoted(text)} is in brackets", "write the address without them"
    if "://" in text:
        return f"{quoted(text)} is a URL", allowed
    return None


HOST = Text(
    "a host name, an address, or a Host of ~/.ssh/config", "[A-Za-z0-9_.:][A-Za-z0-9_.:%+-]{0,254}", _refuse_host
)
USER = Text("a login name on the machine", r"[A-Za-z0-9_.][A-Za-z0-9_.@+\\-]{0,127}\$?")


def _refuse_jump(text: str) -> tuple[str, str] | None:
    port = re.search(":([0-9]+)$", text)
    if "://" in text:
        return f"{quoted(text)} is a URL", _JUMPS
    if text.count(":") > 1 and "[" not in text:
        return f"{quoted(text)} has an IPv6 address without brackets", f"[{text}]"
    if port and port_number(port[1]) is None:
        return f"{port[1]} is no port", "a number from 1 to 65535"
    return None


_JUMPS = "[user@]host[:port], the host as in target.host, an IPv6 address in brackets"
JUMP = Text(
    _JUMPS,
    rf"(?:{USER.pattern}@)?(?:[A-Za-z0-9_.][A-Za-z0-9_.%+-]{{0,254}}|\[[0-9A-Za-z:.%_-]+\])(?::[0-9]{{1,5}})?",
    _refuse_jump,
)
KEY_FILE = Text("an absolute path or one that starts with ~", r"(?:/|~|[A-Za-z]:[\\/]).*", is_shown=False)
PATH_THERE = Text("an absolute path on the machine or one that starts with ~", r"(?:/|~|[A-Za-z]:[\\/]).*")
TOKEN_FILE = replace(PATH_THERE, is_shown=False)
PYTHON = Text(
    "auto, or the interpreter's path on the machine, absolute or starting with ~", rf"auto|{PATH_THERE.pattern}"
)
PACKAGE = Text("what pip installs, such as numpy or numpy==2.*; no options", "[A-Za-z0-9].*", most_characters=500)


def _refuse_origin(text: str) -> tuple[str, str] | None:
    allowed = "an exact origin such as https://colab.research.google.com; http only for localhost"
    found = re.fullmatch(r"(https?)://(\[[0-9a-f:]+\]|[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?::([0-9]+))?", text)
    if "*" in text or text == "null":
        return f"{quoted(text)} would let other pages in", allowed
    if not found:
        return f"{quoted(text)} is not an origin" + _why_no_origin(text), allowed
    scheme, host, port = found.groups()
    if scheme == "http" and not _is_loopback(host.strip("[]")):
        return f"{quoted(text)} is not encrypted", allowed
    if port and (port_number(port) is None or int(port) == {"http": 80, "https": 443}[scheme]):
        return f"{quoted(text)} is never what a browser sends: port {port}", "leave out a scheme's own port"
    return None


def _why_no_origin(text: str) -> str:
    if text != text.lower():
        return " (browsers send lower case)"
    if re.match("https?://[^/?#]+[/?#]", text):
        return " (it ends with its host or port: no slash, no path)"
    return "" if "://" in text else " (it starts with https://)"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


ORIGIN = Text("an origin", check=_refuse_origin, most_characters=300)


@dataclass(frozen=True)
class LocalPort:
    """``auto`` (None), a port, or an inclusive range ``[first, last]``."""

    def read(self, node: Node, key: str) -> int | tuple[int, int] | None:
        if tag_of(node) != "seq":
            return Port("auto").read(node, key)
        ports = [Port().read(item, f"{key}[{index}]") for index, item in enumerate(node.value[:3])]
        match ports:
            case [int(first), int(last)] if first <= last:
                return first, last
            case [int(first), int(last)]:
                raise wrong(node, key, f"the range [{first}, {last}] runs backwards", f"[{last}, {first}]")
        raise wrong(node, key, f"a range has two ports, not {len(node.value)}", "auto, a port, or [first, last]")

    def show(self, value: Any) -> object:
        return list(value) if isinstance(value, tuple) else Port("auto").show(value)

    def as_json(self) -> Schema:
        port = Port().as_json()
        return {"anyOf": [{"const": "auto"}, port, {"type": "array", "prefixItems": [port, port], "minItems": 2,
                                                    "maxItems": 2}]}  # fmt: skip


@dataclass(frozen=True)
class Forward:
    """``LOCAL:REMOTE``, ``LOCAL:HOST:REMOTE``, or ``LOCAL:/SOCKET``; an IPv6 HOST is in brackets."""

    def read(self, node: Node, key: str) -> ExtraForward:
        allowed = f'{FORWARDS}, in quotes, such as "6006:6006"'
        text = scalar(node, key, allowed)
        if tag_of(node) != "str":
            raise wrong(node, key, f"is {kind_of(node)} to YAML, not text", "put it in quotes")
        forward = parse_forward(text)
        if forward is None:
            raise wrong(node, key, f"{quoted(text)} is not a forward", allowed)
        return forward

    def show(self, value: ExtraForward) -> object:
        if value.remote_port == 0:
            return f"{value.local_port}:{value.host}"
        host = f"[{value.host}]" if ":" in value.host else value.host
        return f"{value.local_port}:{host}:{value.remote_port}".replace(":127.0.0.1:", ":")

    def as_json(self) -> Schema:
        return {"type": "string", "pattern": f"^(?:{_FORWARD}|{_TO_SOCKET})$"}


_FORWARD = r"([0-9]{1,5})(?::(\[[0-9A-Fa-f:.%a-z]+\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?))?:([0-9]{1,5})"

FORWARDS = "LOCAL:REMOTE, LOCAL:HOST:REMOTE or LOCAL:/SOCKET"
_TO_SOCKET = r"([0-9]{1,5}):(/[^\x00-\x1f\x7f]{1,100})"  # a path that fits into sockaddr_un everywhere


def parse_forward(text: str) -> ExtraForward | None:
    """The forward that ``text`` (``L:R``, ``L:HOST:R`` or ``L:/SOCKET``) describes, or None."""
    to_socket = re.fullmatch(_TO_SOCKET, text)
    if to_socket:
        port = port_number(to_socket[1])
        return ExtraForward(port, 0, to_socket[2]) if port else None
    found = re.fullmatch(_FORWARD, text)
    local, remote = (port_number(found[1]), port_number(found[3])) if found else (None, None)
    if not found or local is None or remote is None:
        return None
    return ExtraForward(local, remote, (found[2] or "127.0.0.1").strip("[]"))
