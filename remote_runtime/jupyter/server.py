"""Jupyter on the machine: found, started, stopped, over one exec channel each time.

What runs there is ``launcher.py`` with ``machine/``; this side only sends orders and checks the answers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from ..core.callbacks import Run, Tell
from ..core.deadline import Deadline
from ..core.endings import Idle
from ..core.errors import LocalError, MachineError
from ..core.frozen import dataclass
from ..core.model import Server
from ..core.profile import JupyterSettings
from ..core.sanitize import clean, clean_line
from . import server_description
from .idle_policy import guard_from, wish_of, words
from .page_host import page_host
from .remote_call import ask, invalid

BRIDGE_PACKAGE = "remote_runtime_bridge"
LOG_LIMIT = 131_072
MOST_SERVERS = 100
KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Wanted:
    """The server that should run, for one runtime of one computer. ``origins``: the pages that may use it.
    ``socket``: it may listen on a unix socket, which no other user of the machine reaches. ``idle``: what the watchdog
    beside it does when nobody uses it. ``renew``: another program here may know its token, so it gets a new one.
    ``attempt``: what names this start, if it is to be taken back."""

    name: str
    client_id: str
    settings: JupyterSettings
    origins: tuple[str, ...]
    socket: bool = False
    idle: Idle = field(default_factory=Idle)
    renew: bool = False
    attempt: str = ""

    @property
    def key(self) -> str:
        """Its folder below ``servers/``. Raises ``ValueError`` for what cannot be a folder's name."""
        key = f"{self.name}-{self.client_id}"
        if not KEY.fullmatch(key):
            raise ValueError(f"{key!r} cannot name a server's folder")
        return key


@dataclass(frozen=True)
class Bridge:
    """The server extension as it is sent: ``files`` maps paths below ``bridge/<digest>/`` to their text."""

    version: str
    files: Mapping[str, str]

    @property
    def digest(self) -> str:
        joined = "\0".join(f"{name}\0{text}" for name, text in sorted(self.files.items()))
        return hashlib.sha256(joined.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Running:
    """A server of ours, whoever started it. ``key``: its folder, ``NAME-CLIENT``; ``since``: ISO 8601."""

    key: str
    pid: int
    since: str


@dataclass(frozen=True)
class Purged:
    """``done``: our folder is gone. Else ``alive`` are the servers (folder names) that still run there."""

    done: bool
    alive: tuple[str, ...] = ()


@dataclass(frozen=True)
class LogPart:
    """Part of the server's log; ``offset`` (bytes) is where the next part starts."""

    text: str
    offset: int


def ensure(
    run: Run,
    wanted: Wanted,
    *,
    tell: Tell,
    deadline: Deadline,
    bridge: Bridge | None = None,
    person: bool = True,
    reaches: Callable[[str | int], bool] = lambda place: True,
    began: Callable[[], None] = lambda: None,
) -> Server:
    """The runtime's server on the machine: the one that runs there and proves itself, else a new one; or, without a
    live one of ours, the user's own that ``jupyter.attach`` names.

    ``person``: somebody wants it now. A repair must not start again what the watchdog has ended: it raises
    ``MachineError`` ``stopped-when-idle``.

    ``reaches``: whether the SSH server leads to a unix socket or a port of the machine, asked before Jupyter is
    started. ``began``: called when the machine is told to start it; from then on it may run, unless the machine says
    that it does not. Raises ``MachineError``; a start that fails leaves nothing on the machine.
    """
    settings, sent = wanted.settings, bridge or our_bridge()
    wish = {
        "python": settings.python, "install": settings.install, "working_dir": settings.working_dir,
        "port": settings.port, "env": dict(settings.env), "args": list(settings.args),
        "packages": list(settings.packages), "origins": list(wanted.origins),
        "hostnames": ["localhost", page_host(wanted.name)],
        "socket": wanted.socket and settings.port is None,
        "person": person, "renew": wanted.renew, "attempt": wanted.attempt, "idle": wish_of(wanted.idle),
        "attach": settings.attach and vars(settings.attach),
        "bridge": {"digest": sent.digest, "version": sent.version, "files": dict(sent.files)},
        "boot": (Path(__file__).parent / "remote" / "run_server.py").read_text(encoding="utf-8"),
    }  # fmt: skip
    orders = {"do": "ensure", "key": wanted.key, "wish": wish}
    answer = ask(run, orders, python=settings.python, tell=tell, deadline=deadline, reaches=reaches, began=began)
    if settings.attach and answer.get("attached") is True:
        return _with_note_on_bridge(server_description.attached(answer), sent.version)
    server, guard = server_description.started(answer), guard_from(answer.get("idle"), wanted.idle)
    if guard is not None:
        server = replace(server, idle=guard, notes=(*server.notes, *words(guard)))
    return _with_note_on_bridge(server, sent.version)


def _with_note_on_bridge(server: Server, ours: str) -> Server:
    if server.bridge in ("", ours):
        return server
    note = f"the running server has bridge {server.bridge}, this is {ours}; it changes with `down` and `up`"
    return replace(server, notes=(*server.notes, note))


def stop(
    run: Run,
    wanted: Wanted,
    *,
    deadline: Deadline,
    tell: Tell | None = None,
    spare_busy: bool = False,
) -> Literal["stopped", "gone"]:
    """End the server with its kernels and remove what belongs to it. ``gone``: it had ended before.

    ``spare_busy``: raises ``LocalError`` ``busy``, and touches nothing, when kernels are busy or cannot be asked.
    """
    orders = {"do": "stop", "key": wanted.key, "spare_busy": spare_busy}
    match ask(run, orders, python=wanted.settings.python, tell=tell or _nothing, deadline=deadline):
        case {"stopped": "stopped"}:
            return "stopped"
        case {"stopped": "gone"}:
            return "gone"
        case {"stopped": "busy", "why": str(why)} if spare_busy:
            raise LocalError("busy", "Jupyter is at work", clean_line(why, 200))
    raise invalid("neither stopped nor gone")


def take_back(run: Run, wanted: Wanted, *, deadline: Deadline) -> bool:
    """As ``stop``, only what the start ``wanted.attempt`` has made. Whether our folder is still on the machine."""
    orders = {"do": "stop", "key": wanted.key, "spare_busy": False, "attempt": wanted.attempt}
    match ask(run, orders, python=wanted.settings.python, tell=_nothing, deadline=deadline):
        case {"stopped": "stopped" | "gone"} as answer:
            return answer.get("folder") is not False
    raise invalid("neither stopped nor gone")


def servers(run: Run, settings: JupyterSettings, *, deadline: Deadline) -> tuple[Running, ...]:
    """All servers of ours that run for the account, those of other computers too."""
    answer = ask(run, {"do": "servers"}, python=settings.python, tell=_nothing, deadline=deadline)
    found = []
    for each in answer.get("servers") or ():
        match each:
            case {"key": str(key), "pid": int(pid), "since": float(since)} if KEY.fullmatch(key) and 0 <= since < 2**40:
                at = datetime.fromtimestamp(since, timezone.utc).isoformat(timespec="seconds")
                found.append(Running(key, pid, at))
            case _:
                raise invalid("a server is not described as it should be")
    return tuple(found[:MOST_SERVERS])


def purge(run: Run, settings: JupyterSettings, *, deadline: Deadline) -> Purged:
    """Remove our whole folder on the machine, unless servers of ours (other computers' too) run there."""
    match ask(run, {"do": "purge"}, python=settings.python, tell=_nothing, deadline=deadline):
        case {"purged": bool(done), "alive": list(alive)}:
            return Purged(done, tuple(clean_line(str(key), 200) for key in alive[:100]))
    raise invalid("not the answer to a purge")


def log_tail(run: Run, wanted: Wanted, *, lines: int, deadline: Deadline) -> LogPart:
    """The last lines of the server's log."""
    part = log_from(run, wanted, offset=None, deadline=deadline)
    return LogPart("".join(part.text.splitlines(keepends=True)[-lines:]) if lines else "", part.offset)


def log_from(run: Run, wanted: Wanted, *, offset: int | None, deadline: Deadline) -> LogPart:
    """What was added to the server's log after ``offset`` (None: its end); to follow it, ask again and again."""
    orders = {"do": "log", "key": wanted.key, "offset": offset, "limit": LOG_LIMIT}
    match ask(run, orders, python=wanted.settings.python, tell=_nothing, deadline=deadline):
        case {"text": str(text), "offset": int(following)} if following >= 0:
            return LogPart(clean(text, LOG_LIMIT), following)
    raise invalid("not a part of a log")


def our_bridge() -> Bridge:
    """The bridge of this installation, read as text: it is not imported here."""
    folder = Path(__file__).parent.parent / "bridge"
    files = {
        f"{BRIDGE_PACKAGE}/{path.relative_to(folder).as_posix()}": path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*.py"))
    }
    found = re.search(r"^__version__ = ['\"](.+)['\"]", files.get(f"{BRIDGE_PACKAGE}/__init__.py", ""), re.MULTILINE)
    if not found:
        raise MachineError("bridge-not-loaded", "The bridge is missing from this installation", str(folder))
    return Bridge(found.group(1), files)


def _nothing(text: str) -> None:
    """For what is short and has nothing to tell on the way."""
