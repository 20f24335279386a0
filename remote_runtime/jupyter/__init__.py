"""Jupyter on the machine: found, started, stopped, over one exec channel each time.

What runs there is ``launcher.py`` with ``machine/``; this side only sends orders and checks the answers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from ..endings import Idle
from ..errors import LocalError, MachineError
from ..model import Gpu, Kernelspec, Secret, Server
from ..protocols import Run, Tell
from ..settings import JupyterSettings
from ..untrusted import clean, clean_line
from ..values import dataclass
from ..waits import Deadline
from .exchange import ask, invalid
from .idleness import guard_from, wish_of, words

BRIDGE_PACKAGE = "remote_runtime_bridge"
LOG_LIMIT = 131_072
MOST_GPUS = 64
MOST_KERNELSPECS = 100
MOST_SERVERS = 100
SHOWN_PATH = 200
KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Wanted:
    """The server that should run, for one runtime of one computer. ``origins``: the pages that may use it.
    ``socket``: it may listen on a unix socket, which no other user of the machine reaches. ``idle``: what the watchdog
    beside it does when nobody uses it. ``renew``: another program here may know its token, so it gets a new one."""

    name: str
    client_id: str
    settings: JupyterSettings
    origins: tuple[str, ...]
    socket: bool = False
    idle: Idle = field(default_factory=Idle)
    renew: bool = False

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
    run: Run, wanted: Wanted, *, tell: Tell, deadline: Deadline, bridge: Bridge | None = None, person: bool = True
) -> Server:
    """The runtime's server on the machine: the one that runs there and proves itself, else a new one; or, without a
    live one of ours, the user's own that ``jupyter.attach`` names.

    ``person``: somebody wants it now. A repair must not start again what the watchdog has ended: it raises
    ``MachineError`` ``stopped-when-idle``.

    Raises ``MachineError``; a start that fails leaves nothing on the machine.
    """
    settings, sent = wanted.settings, bridge or our_bridge()
    wish = {
        "python": settings.python, "install": settings.install, "working_dir": settings.working_dir,
        "port": settings.port, "env": dict(settings.env), "args": list(settings.args),
        "packages": list(settings.packages), "origins": list(wanted.origins),
        "socket": wanted.socket and settings.port is None,
        "person": person, "renew": wanted.renew, "idle": wish_of(wanted.idle),
        "attach": settings.attach and vars(settings.attach),
        "bridge": {"digest": sent.digest, "version": sent.version, "files": dict(sent.files)},
        "boot": (Path(__file__).parent / "machine" / "boot.py").read_text(encoding="utf-8"),
    }  # fmt: skip
    orders = {"do": "ensure", "key": wanted.key, "wish": wish}
    answer = ask(run, orders, python=settings.python, tell=tell, deadline=deadline)
    if settings.attach and answer.get("attached") is True:
        return _with_note_on_bridge(_attached(answer), sent.version)
    server, guard = _server(answer), guard_from(answer.get("idle"), wanted.idle)
    if guard is not None:
        server = replace(server, idle=guard, notes=(*server.notes, *words(guard)))
    return _with_note_on_bridge(server, sent.version)


def _with_note_on_bridge(server: Server, ours: str) -> Server:
    if server.bridge in ("", ours):
        return server
    note = f"the running server has bridge {server.bridge}, this is {ours}; it changes with `down` and `up`"
    return replace(server, notes=(*server.notes, note))


def stop(
    run: Run, wanted: Wanted, *, deadline: Deadline, tell: Tell | None = None, spare_busy: bool = False
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


def _server(answer: Mapping[str, Any]) -> Server:
    """Raises ``MachineError`` ``machine-answer-invalid`` unless every value has the shape our launcher gives it."""
    texts: dict[str, Any] = _texts(answer, _SHAPES)
    match answer:
        case {"pid": int(pid), "started_by_us": bool(started), "notes": list(notes), "needs_restart": list(changed),
              "gpus": list(gpus), "kernelspecs": list(specs)} if 1 < pid < 2**32:  # fmt: skip
            port, path = _place(answer)
            token = Secret(texts.pop("token"))
            told = (*_lines(notes), *(_RESTART.format(key) for key in _lines(changed)))
            return Server(port=port, socket=path, pid=pid, token=token, started_by_us=started, notes=told,
                          gpus=_gpus(gpus), kernelspecs=_kernelspecs(specs), attached=False, **texts)  # fmt: skip
    raise invalid("the server's numbers cannot be true")


def _place(answer: Mapping[str, Any]) -> tuple[int | None, str | None]:
    match answer:
        case {"port": int(port), "socket": None} if 0 < port < 65536:
            return port, None
        case {"port": None, "socket": str(path)} if re.fullmatch(_SOCKET, path):
            return None, path
    raise invalid("where the server listens cannot be true")


def _attached(answer: Mapping[str, Any]) -> Server:
    texts = _texts(answer, _ATTACHED_SHAPES)
    match answer:
        case {"port": int(port), "pid": int(pid), "notes": list(notes), "gpus": list(gpus),
              "kernelspecs": list(specs)} if 0 < port < 65536 and 1 < pid < 2**32:  # fmt: skip
            return Server(
                port=port, pid=pid, token=Secret(texts["token"]), directory="", started_by_us=False, python="",
                attached=True, notes=tuple(_lines(notes)), gpus=_gpus(gpus), kernelspecs=_kernelspecs(specs),
                interpreter=texts["interpreter"],
                jupyter_server=texts["jupyter_server"], bridge=texts["bridge"],
            )  # fmt: skip
    raise invalid("the server's numbers cannot be true")


def _texts(answer: Mapping[str, Any], shapes: Mapping[str, str]) -> dict[str, str]:
    """A path that is only shown is cut where nobody reads on."""
    texts = {key: str(answer.get(key)) for key, shape in shapes.items() if re.fullmatch(shape, str(answer.get(key)))}
    if len(texts) != len(shapes):
        raise invalid("the server is not described as it should be")
    return {**texts, "interpreter": clean_line(texts["interpreter"], SHOWN_PATH)}


def _gpus(told: list[object]) -> tuple[Gpu, ...]:
    found = []
    for gpu in told[:MOST_GPUS]:
        match gpu:
            case {"name": str(name), "memory_bytes": int(size), "driver": str(driver)} if 0 <= size < 2**60:
                found.append(Gpu(clean_line(name, 100), size, clean_line(driver, 40)))
            case _:
                raise invalid("a GPU is not described as it should be")
    return tuple(found)


def _kernelspecs(told: list[object]) -> tuple[Kernelspec, ...]:
    found = []
    for spec in told[:MOST_KERNELSPECS]:
        match spec:
            case {"name": str(name), "display_name": str(shown), "language": str(language)}:
                found.append(Kernelspec(clean_line(name, 100), clean_line(shown, 100), clean_line(language, 40)))
            case _:
                raise invalid("a kernel is not described as it should be")
    return tuple(found)


def _lines(told: list[object]) -> list[str]:
    return [clean_line(str(line), 300) for line in told[:20]]


_RESTART = "{} has changed; the running server keeps the old value until `down` and `up`"
_VERSION = r"[A-Za-z0-9.+!_ -]{1,60}"
_PATH = r"[^\x00-\x1f\x7f-\x9f]{1,4096}"
_SOCKET = r"/[^\x00-\x1f\x7f-\x9f]{1,106}"  # unix(7): 108 bytes with the zero at its end
_SHAPES = {
    "token": r"[0-9a-f]{48}", "directory": _PATH, "interpreter": _PATH,
    "jupyter_server": _VERSION, "bridge": _VERSION, "python": _VERSION,
}  # fmt: skip
_ATTACHED_SHAPES = {
    "token": r"[!-~]{1,512}", "interpreter": _PATH, "jupyter_server": _VERSION, "bridge": rf"(?:{_VERSION})?",
}  # fmt: skip


def _nothing(text: str) -> None:
    """For what is short and has nothing to tell on the way."""
