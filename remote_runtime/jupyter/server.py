"""Starts, finds and stops Jupyter on the machine; each call takes one SSH exec channel.

The work is done there by ``remote/``; this side sends requests and checks the replies.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from ..core.callbacks import Progress, RunCommand
from ..core.deadline import Deadline
from ..core.errors import LocalError, MachineError
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Server
from ..core.profile import IdleSettings, JupyterSettings
from ..core.sanitize import clean, clean_line
from ..launcher.call import call_launcher, invalid_reply
from . import server_description
from .idle_policy import describe, parse_watchdog, watchdog_request

BRIDGE_PACKAGE = "remote_runtime_bridge"
MAX_LOG_BYTES = 131_072
MAX_SERVERS = 100
MAX_LABEL_CHARS = 40  # a label of a host name has at most 63
KEY_PATTERN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_call = functools.partial(call_launcher, program="jupyter")


@fast_dataclass(frozen=True)
class ServerSpec:
    """The server that should run, for one runtime of one computer. ``origins``: the pages that may use it. ``socket``:
    prefer a unix socket, which no other user of the machine can use. ``idle``: the watchdog's rule. ``renew``: give it
    a new token, as another program here may know the present one. ``attempt``: identifies this start for
    ``undo_start``."""

    name: str
    client_id: str
    settings: JupyterSettings
    origins: tuple[str, ...]
    socket: bool = False
    idle: IdleSettings = field(default_factory=IdleSettings)
    renew: bool = False
    attempt: str = ""

    @property
    def key(self) -> str:
        """Its folder below ``servers/``. Raises ``ValueError`` if that is no valid name."""
        key = f"{self.name}-{self.client_id}"
        if not KEY_PATTERN.fullmatch(key):
            raise ValueError(f"expected a server directory's name, got {key!r}")
        return key


@fast_dataclass(frozen=True)
class Bridge:
    """The server extension as it is sent: ``files`` maps paths below ``bridge/<digest>/`` to their text."""

    version: str
    files: Mapping[str, str]

    @property
    def digest(self) -> str:
        joined = "\0".join(f"{name}\0{text}" for name, text in sorted(self.files.items()))
        return hashlib.sha256(joined.encode()).hexdigest()[:16]


@fast_dataclass(frozen=True)
class RunningServer:
    """A remote-runtime server, of any computer. ``key``: its folder, ``NAME-CLIENT``; ``since``: ISO 8601."""

    key: str
    pid: int
    since: str


@fast_dataclass(frozen=True)
class PurgeResult:
    """``done``: the remote-runtime directory was removed. Otherwise ``alive`` lists the servers (folder names) that
    still run there."""

    done: bool
    alive: tuple[str, ...] = ()


@fast_dataclass(frozen=True)
class LogPart:
    """Part of the server's log; ``offset`` (bytes) is where the next part starts."""

    text: str
    offset: int


def ensure(
    run: RunCommand,
    spec: ServerSpec,
    *,
    progress: Progress,
    deadline: Deadline,
    bridge: Bridge | None = None,
    user_requested: bool = True,
    can_forward_to: Callable[[str | int], bool] = lambda place: True,
    on_start: Callable[[], None] = lambda: None,
    start_s: float = math.inf,
) -> Server:
    """The runtime's server on the machine: the running one if it proves its identity, else a new one; or, if there is
    none, the user's own server that ``jupyter.attach`` names.

    ``user_requested``: False for a reconnect, which must not start a server that the watchdog ended: it raises
    ``MachineError`` ``stopped-when-idle``. ``can_forward_to``: whether the SSH server forwards to a unix socket or a
    port of the machine, asked before Jupyter is started. ``on_start``: called when the request is sent; the server may
    run from then on. ``start_s``: the part of the deadline for all but the installation of packages.

    Raises ``MachineError``; a start that fails leaves nothing on the machine.
    """
    settings, package = spec.settings, bridge or load_bridge()
    launch_spec = {
        "python": settings.python, "install": settings.install, "working_dir": settings.working_dir,
        "port": settings.port, "env": dict(settings.env), "args": list(settings.args),
        "packages": list(settings.packages), "lab": settings.lab == "auto", "origins": list(spec.origins),
        "record_outputs": settings.record_outputs, "kernels": list(settings.kernels),
        "hostnames": ["localhost", page_host(spec.name)],
        "socket": spec.socket and settings.port is None,
        "person": user_requested, "renew": spec.renew, "attempt": spec.attempt, "idle": watchdog_request(spec.idle),
        "attach": settings.attach and vars(settings.attach),
        "bridge": {"digest": package.digest, "version": package.version, "files": dict(package.files)},
        "boot": (Path(__file__).parent / "remote" / "run_server.py").read_text(encoding="utf-8"),
    }  # fmt: skip
    request = {"do": "ensure", "key": spec.key, "wish": launch_spec}
    reply = _call(
        run,
        request,
        python=settings.python,
        progress=progress,
        deadline=deadline,
        can_forward_to=can_forward_to,
        on_start=on_start,
        start_s=start_s,
    )
    if settings.attach and reply.get("attached") is True:
        return _with_note_on_bridge(server_description.parse_server(reply, attached=True), package.version)
    server, watchdog = (
        server_description.parse_server(reply, attached=False),
        parse_watchdog(reply.get("idle"), spec.idle),
    )
    if watchdog is not None:
        server = replace(server, idle=watchdog, notes=(*server.notes, *describe(watchdog)))
    return _with_note_on_bridge(server, package.version)


def _with_note_on_bridge(server: Server, our_version: str) -> Server:
    if server.bridge in ("", our_version):
        return server
    note = f"The running server has bridge {server.bridge}, this is {our_version}. `down` and `up` update it"
    return replace(server, notes=(*server.notes, note))


def stop(
    run: RunCommand,
    spec: ServerSpec,
    *,
    deadline: Deadline,
    progress: Progress | None = None,
    refuse_if_busy: bool = False,
) -> Literal["stopped", "gone"]:
    """End the server with its kernels and remove its files. ``gone``: it had ended before.

    ``refuse_if_busy``: raise ``LocalError`` ``busy``, and change nothing, if kernels are or may be busy.
    """
    request = {"do": "stop", "key": spec.key, "spare_busy": refuse_if_busy}
    match _call(run, request, python=spec.settings.python, progress=progress or _ignore, deadline=deadline):
        case {"stopped": "stopped"}:
            return "stopped"
        case {"stopped": "gone"}:
            return "gone"
        case {"stopped": "busy", "why": str(why)} if refuse_if_busy:
            raise LocalError("busy", "Jupyter is busy", clean_line(why, 200))
    raise invalid_reply("expected stopped or gone")


def undo_start(run: RunCommand, spec: ServerSpec, *, deadline: Deadline) -> bool:
    """Stop what the start ``spec.attempt`` made, and nothing else. Returns whether the remote-runtime directory is
    still there."""
    request = {"do": "stop", "key": spec.key, "spare_busy": False, "attempt": spec.attempt}
    match _call(run, request, python=spec.settings.python, progress=_ignore, deadline=deadline):
        case {"stopped": "stopped" | "gone"} as reply:
            return reply.get("folder") is not False
    raise invalid_reply("expected stopped or gone")


def list_servers(run: RunCommand, settings: JupyterSettings, *, deadline: Deadline) -> tuple[RunningServer, ...]:
    """All running remote-runtime servers of the account, also those of other computers."""
    reply = _call(run, {"do": "servers"}, python=settings.python, progress=_ignore, deadline=deadline)
    running = []
    for each in reply.get("servers") or ():
        match each:
            case {"key": str(key), "pid": int(pid), "since": float(since)} if (
                KEY_PATTERN.fullmatch(key) and 0 <= since < 2**40
            ):
                started_at = datetime.fromtimestamp(since, timezone.utc).isoformat(timespec="seconds")
                running.append(RunningServer(key, pid, started_at))
            case _:
                raise invalid_reply("invalid description of a server")
    return tuple(running[:MAX_SERVERS])


def purge(run: RunCommand, settings: JupyterSettings, *, deadline: Deadline) -> PurgeResult:
    """Remove the remote-runtime directory on the machine, unless servers run there, also those of other computers."""
    match _call(run, {"do": "purge"}, python=settings.python, progress=_ignore, deadline=deadline):
        case {"purged": bool(done), "alive": list(alive)}:
            return PurgeResult(done, tuple(clean_line(str(key), 200) for key in alive[:100]))
    raise invalid_reply("expected the result of a purge")


def tail_log(run: RunCommand, spec: ServerSpec, *, lines: int, deadline: Deadline) -> LogPart:
    """The last lines of the server's log."""
    part = read_log(run, spec, offset=None, deadline=deadline)
    return LogPart("".join(part.text.splitlines(keepends=True)[-lines:]) if lines else "", part.offset)


def read_log(run: RunCommand, spec: ServerSpec, *, offset: int | None, deadline: Deadline) -> LogPart:
    """The server's log from ``offset`` on (None: its end). Call it again with the next offset to follow the log."""
    request = {"do": "log", "key": spec.key, "offset": offset, "limit": MAX_LOG_BYTES}
    match _call(run, request, python=spec.settings.python, progress=_ignore, deadline=deadline):
        case {"text": str(text), "offset": int(next_offset)} if next_offset >= 0:
            return LogPart(clean(text, MAX_LOG_BYTES), next_offset)
    raise invalid_reply("expected a part of a log")


def load_bridge() -> Bridge:
    """The bridge of this installation, read as text: it is not imported."""
    directory = Path(__file__).parent.parent / "bridge"
    files = {
        f"{BRIDGE_PACKAGE}/{path.relative_to(directory).as_posix()}": path.read_text(encoding="utf-8")
        for path in sorted(directory.rglob("*.py"))
    }
    version = re.search(r"^__version__ = ['\"](.+)['\"]", files.get(f"{BRIDGE_PACKAGE}/__init__.py", ""), re.MULTILINE)
    if not version:
        raise MachineError("bridge-not-loaded", "The bridge is missing from this installation", str(directory))
    return Bridge(version.group(1), files)


def _ignore(text: str) -> None:
    """For short requests that report no progress."""


def page_host(name: str) -> str:
    """The host name at which a browser opens the pages of this runtime's server, and of no other.

    Browsers send cookies of ``localhost`` to every port of this computer (RFC 6265, 8.5), and the login cookie is as
    good as the token. ``*.localhost`` is this computer too (RFC 6761, 6.3), with cookies of its own."""
    label = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")[:MAX_LABEL_CHARS]
    if label != name:
        label += "-" + hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"rr-{label}.localhost"
