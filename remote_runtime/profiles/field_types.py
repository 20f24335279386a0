"""The types of particular keys: Google's names, SSH hosts, web origins, forwards, paths."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..core.fast_dataclass import fast_dataclass
from ..core.profile import ExtraForward
from .sections import ListOf
from .validation_errors import error_at, expected, quoted
from .value_types import Port, Schema, Text, ValueType, port_number, scalar_text
from .yaml_nodes import describe_type, yaml_tag

if TYPE_CHECKING:
    from yaml.nodes import Node

# Sources: https://cloud.google.com/compute/docs/naming-resources and
# https://cloud.google.com/resource-manager/docs/creating-managing-projects
INSTANCE = Text(
    "an instance name (lowercase letters, digits and `-`, starting with a letter, at most 63)",
    "[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?",
)
_PROJECT_RULE = "(?:[a-z0-9.-]{1,63}\\.[a-z]{2,63}:[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?|[a-z][a-z0-9-]{4,28}[a-z0-9])"
PROJECT = Text("a project ID (6 to 30 lowercase letters, digits and `-`), not its name or number", _PROJECT_RULE)


def _region_problem(text: str) -> str:
    is_region = re.fullmatch("[a-z]+-[a-z]+[0-9]+", text)
    return expected(f"a zone such as `{text}-a`", f"the region {quoted(text)}") if is_region else ""


ZONE = Text("a zone such as `us-central1-a`", "[a-z]+-[a-z]+[0-9]+-[a-z0-9]{1,8}", _region_problem)


REGION = Text("a region such as `us-central1`", "[a-z]+-[a-z]+[0-9]+", lambda text: _zone_problem(text))


@fast_dataclass(frozen=True)
class OneOrMore(ValueType):
    """One value or a list of them, parsed into a tuple."""

    item: ValueType
    max_items: int = 100

    def parse(self, node: Node, key: str) -> tuple[Any, ...]:
        if yaml_tag(node) != "seq":
            return (self.item.parse(node, key),)
        values: tuple[Any, ...] = ListOf(self.item, 0, self.max_items).parse(node, key)
        return values

    def to_yaml(self, value: Any) -> object:
        return self.item.to_yaml(value[0]) if len(value) == 1 else [self.item.to_yaml(each) for each in value]

    def json_schema(self) -> Schema:
        return {"anyOf": [self.item.json_schema(), ListOf(self.item, 0, self.max_items).json_schema()]}


def _zone_problem(text: str) -> str:
    is_zone = re.fullmatch(ZONE.pattern, text)
    return expected(f"a region such as `{text.rpartition('-')[0]}`", f"the zone {quoted(text)}") if is_zone else ""


MACHINE_TYPE = Text("a machine type such as `g2-standard-8`", "[a-z][a-z0-9]*(?:-[a-z0-9]+){1,6}")
TYPE_NAME = Text("a type such as `pd-balanced`", "[a-z][a-z0-9-]{0,62}")
IMAGE_NAME = Text("the name of an image or of a family, without its project", "[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
METADATA_KEY = Text("a metadata key (letters, digits, `_` and `-`)", "[A-Za-z0-9_-]{1,128}")
NETWORK = Text("a name, or a path such as `projects/P/global/networks/N`", "[a-z][a-z0-9:./-]{0,250}")
SCOPE = Text(
    "a scope such as `cloud-platform`, or its URL", r"[a-z][a-z.-]{0,60}|https://www\.googleapis\.com/auth/[\w.-]+"
)
SERVICE_ACCOUNT = Text("`default` or a service account's e-mail address", "default|[a-z0-9][a-z0-9.:-]*@[a-z0-9.-]+")
TAG = Text("a network tag (lowercase letters, digits and `-`)", "[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")


def _label_problem(text: str, *, is_key: bool) -> str:
    """Labels may have international letters, but no upper case:
    https://cloud.google.com/compute/docs/labeling-resources#requirements."""
    fits = all(letter in "_-" or unicodedata.category(letter)[0:2] in ("Ll", "Lo", "Nd") for letter in text)
    starts_well = not is_key or (text and unicodedata.category(text[0]) in ("Ll", "Lo"))
    if fits and starts_well:
        return ""
    return expected("lowercase letters, digits, `_` and `-`" + ", starting with a letter" * is_key, quoted(text))


LABEL_KEY = Text("a label's key", find_problem=lambda text: _label_problem(text, is_key=True), max_chars=63)
LABEL_VALUE = Text("a label's value", find_problem=lambda text: _label_problem(text, is_key=False), max_chars=63)


def _host_problem(text: str) -> str:
    notes = {
        "@" in text: "; set the login name in `ssh.user`",
        bool(re.fullmatch("[^:]+:[0-9]+|\\[.*\\]:[0-9]+", text)): "; set the port in `target.port`",
        text.startswith("[") and text.endswith("]"): "; remove the brackets",
        "://" in text: ", a URL",
    }
    return expected("a host name or address", quoted(text) + notes[True]) if True in notes else ""


HOST = Text(
    "a host name, an address, or a Host of ~/.ssh/config", "[A-Za-z0-9_.:][A-Za-z0-9_.:%+-]{0,254}", _host_problem
)
USER = Text("a login name on the machine", r"[A-Za-z0-9_.][A-Za-z0-9_.@+\\-]{0,127}\$?")


def _jump_problem(text: str) -> str:
    port = re.search(":([0-9]+)$", text)
    if "://" in text:
        return expected(_JUMP_SYNTAX, f"{quoted(text)}, a URL")
    if text.count(":") > 1 and "[" not in text:
        return expected(f"an IPv6 address in brackets, `[{text}]`", quoted(text))
    if port and port_number(port[1]) is None:
        return expected("a port from 1 to 65535", f"`{port[1]}`")
    return ""


_JUMP_SYNTAX = "`[user@]host[:port]`, with an IPv6 address in brackets"
JUMP = Text(
    _JUMP_SYNTAX,
    rf"(?:{USER.pattern}@)?(?:[A-Za-z0-9_.][A-Za-z0-9_.%+-]{{0,254}}|\[[0-9A-Za-z:.%_-]+\])(?::[0-9]{{1,5}})?",
    _jump_problem,
)
KEY_FILE = Text("an absolute path or one that starts with `~`", r"(?:/|~|[A-Za-z]:[\\/]).*", is_shown=False)
REMOTE_PATH = Text("an absolute path on the machine or one that starts with `~`", r"(?:/|~|[A-Za-z]:[\\/]).*")
TOKEN_FILE = replace(REMOTE_PATH, is_shown=False)
PYTHON = Text(
    "`auto` or the interpreter's path on the machine, absolute or starting with `~`", rf"auto|{REMOTE_PATH.pattern}"
)
PACKAGE = Text("a package as for pip, such as `numpy` or `numpy==2.*`, without options", "[A-Za-z0-9].*", max_chars=500)


def _origin_problem(text: str) -> str:
    allowed = "an exact origin such as `https://colab.research.google.com`"
    match = re.fullmatch(r"(https?)://(\[[0-9a-f:]+\]|[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?::([0-9]+))?", text)
    if "*" in text or text == "null":
        return expected(allowed, f"{quoted(text)}, which allows other pages")
    if not match:
        return expected(allowed, quoted(text) + _origin_hint(text))
    scheme, host, port = match.groups()
    if scheme == "http" and not _is_loopback(host.strip("[]")):
        return expected(f"{allowed}, with `http` for localhost only", quoted(text))
    if port and (port_number(port) is None or int(port) == {"http": 80, "https": 443}[scheme]):
        return expected(f"{allowed}, without the scheme's default port", quoted(text))
    return ""


def _origin_hint(text: str) -> str:
    if text != text.lower():
        return " (browsers send lowercase)"
    if re.match("https?://[^/?#]+[/?#]", text):
        return " (remove the slash and the path)"
    return "" if "://" in text else " (add `https://`)"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


ORIGIN = Text("an origin", find_problem=_origin_problem, max_chars=300)


@fast_dataclass(frozen=True)
class LocalPortOrRange(ValueType):
    """``auto`` for None, a port, or an inclusive range ``[first, last]``."""

    def parse(self, node: Node, key: str) -> int | tuple[int, int] | None:
        if yaml_tag(node) != "seq":
            return Port("auto").parse(node, key)
        ports = [Port().parse(item, f"{key}[{index}]") for index, item in enumerate(node.value[:3])]
        match ports:
            case [int(first), int(last)] if first <= last:
                return first, last
            case [int(first), int(last)]:
                raise error_at(node, key, expected(f"`[{last}, {first}]`", f"`[{first}, {last}]`"))
        raise error_at(node, key, expected("`auto`, a port, or `[first, last]`", f"a list of {len(node.value)}"))

    def to_yaml(self, value: Any) -> object:
        return list(value) if isinstance(value, tuple) else Port("auto").to_yaml(value)

    def json_schema(self) -> Schema:
        port = Port().json_schema()
        return {"anyOf": [{"const": "auto"}, port, {"type": "array", "prefixItems": [port, port], "minItems": 2,
                                                    "maxItems": 2}]}  # fmt: skip


@fast_dataclass(frozen=True)
class KernelPlaces(ValueType):
    """``auto``, ``off``, or a list of paths on the machine and ``auto``. ``off``, a Boolean to YAML, is the empty
    list."""

    def parse(self, node: Node, key: str) -> tuple[str, ...]:
        if yaml_tag(node) == "seq":
            places: tuple[str, ...] = _KERNEL_PATHS.parse(node, key)
            return places
        allowed = "`auto`, `off`, or a list of paths on the machine"
        text = scalar_text(node, key, allowed)
        if text == "auto" and yaml_tag(node) == "str":
            return ("auto",)
        if text.lower() in ("off", "no", "false"):
            return ()
        raise error_at(node, key, expected(allowed, quoted(text)))

    def to_yaml(self, value: Any) -> object:
        return {("auto",): "auto", (): "off"}.get(tuple(value), list(value))

    def json_schema(self) -> Schema:
        return {"anyOf": [{"enum": ["auto", "off"]}, {"const": False}, _KERNEL_PATHS.json_schema()]}


_KERNEL_PATHS = ListOf(
    Text("`auto` or a path on the machine, absolute or starting with `~`", rf"auto|{REMOTE_PATH.pattern}"), max_items=50
)


@fast_dataclass(frozen=True)
class ForwardSpec(ValueType):
    """``PORT``, ``LOCAL:REMOTE``, ``LOCAL:HOST:REMOTE``, or ``LOCAL:/SOCKET``; an IPv6 HOST is in brackets."""

    def parse(self, node: Node, key: str) -> ExtraForward:
        allowed = f'{FORWARD_SYNTAX} in quotes, such as "6006:6006"'
        text = scalar_text(node, key, allowed)
        if yaml_tag(node) != "str" and port_number(text) is None:  # YAML reads 22:22 as a number
            raise error_at(node, key, expected("text", f"{describe_type(node)} (in YAML); put it in quotes"))
        forward = parse_forward(text)
        if forward is None:
            raise error_at(node, key, expected(allowed, quoted(text)))
        return forward

    def to_yaml(self, value: ExtraForward) -> object:
        if value.remote_port == 0:
            return f"{value.local_port}:{value.host}"
        host = f"[{value.host}]" if ":" in value.host else value.host
        return f"{value.local_port}:{host}:{value.remote_port}".replace(":127.0.0.1:", ":")

    def json_schema(self) -> Schema:
        pattern = f"^(?:[0-9]{{1,5}}|{_PORT_FORWARD}|{_SOCKET_FORWARD})$"
        return {"anyOf": [Port().json_schema(), {"type": "string", "pattern": pattern}]}


_PORT_FORWARD = (
    r"([0-9]{1,5})(?::(\[[0-9A-Fa-f:.%a-z]+\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?))?:([0-9]{1,5})"
)

FORWARD_SYNTAX = "`PORT`, `LOCAL:REMOTE`, `LOCAL:HOST:REMOTE` or `LOCAL:/SOCKET`"
_SOCKET_FORWARD = r"([0-9]{1,5}):(/[^\x00-\x1f\x7f]{1,100})"  # a path that fits into sockaddr_un everywhere


def parse_forward(text: str) -> ExtraForward | None:
    """The forward that ``text`` describes (``PORT``, ``L:R``, ``L:HOST:R`` or ``L:/SOCKET``), or None."""
    if port := port_number(text):
        return ExtraForward(port, port)
    socket_match = re.fullmatch(_SOCKET_FORWARD, text)
    if socket_match:
        port = port_number(socket_match[1])
        return ExtraForward(port, 0, socket_match[2]) if port else None
    match = re.fullmatch(_PORT_FORWARD, text)
    local, remote = (port_number(match[1]), port_number(match[3])) if match else (None, None)
    if not match or local is None or remote is None:
        return None
    return ExtraForward(local, remote, (match[2] or "127.0.0.1").strip("[]"))
