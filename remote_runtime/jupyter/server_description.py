"""Parses the launcher's description of a server, and checks every value: the machine is not trusted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..core.model import Gpu, Kernelspec, Secret, Server
from ..core.sanitize import clean_line
from ..launcher.call import invalid_reply

MAX_GPUS = 64
MAX_KERNELSPECS = 100
MAX_PACKAGES = 20
MAX_PATH_CHARS = 200
_RESTART = "{} has changed. The running server keeps the old value until `down` and `up`"
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


def parse_server(reply: Mapping[str, Any], *, attached: bool) -> Server:
    """``attached``: the user's own server. Raises ``MachineError`` ``machine-answer-invalid`` if a value is not as the
    launcher writes it."""
    reply = {**reply, "socket": None, "started_by_us": False, "needs_restart": []} if attached else reply
    texts: dict[str, Any] = _texts(reply, _ATTACHED_SHAPES if attached else _SHAPES)
    match reply:
        case {"pid": int(pid), "started_by_us": bool(started), "notes": list(notes), "needs_restart": list(changed),
              "gpus": list(gpus), "kernelspecs": list(specs)} if 1 < pid < 2**32:  # fmt: skip
            port, path = _address(reply)
            token, former = Secret(texts.pop("token")), reply.get("former")
            all_notes = (*_lines(notes), *(_RESTART.format(key) for key in _lines(changed)))
            return Server(port=port, socket=path, pid=pid, token=token, started_by_us=started, notes=all_notes,
                          former=former if former in ("same", "restarted", "unknown") else "", gpus=_gpus(gpus),
                          kernelspecs=_kernelspecs(specs), attached=attached,
                          missing_packages=_package_names(reply.get("missing_packages")), **texts)  # fmt: skip
    raise invalid_reply("invalid numbers in the server's description")


def _address(reply: Mapping[str, Any]) -> tuple[int | None, str | None]:
    match reply:
        case {"port": int(port), "socket": None} if 0 < port < 65536:
            return port, None
        case {"port": None, "socket": str(path)} if re.fullmatch(_SOCKET, path):
            return None, path
    raise invalid_reply("invalid listening address of the server")


def _texts(reply: Mapping[str, Any], shapes: Mapping[str, str]) -> dict[str, str]:
    """The interpreter's path is only shown, and so cut."""
    texts = {key: str(reply.get(key)) for key, shape in shapes.items() if re.fullmatch(shape, str(reply.get(key)))}
    if len(texts) != len(shapes):
        raise invalid_reply("invalid description of the server")
    interpreter = clean_line(texts["interpreter"], MAX_PATH_CHARS)
    return {"directory": "", "python": "", **texts, "interpreter": interpreter}


def _gpus(documents: list[object]) -> tuple[Gpu, ...]:
    gpus = []
    for gpu in documents[:MAX_GPUS]:
        match gpu:
            case {"name": str(name), "memory_bytes": int(size), "driver": str(driver)} if 0 <= size < 2**60:
                gpus.append(Gpu(clean_line(name, 100), size, clean_line(driver, 40)))
            case _:
                raise invalid_reply("invalid description of a GPU")
    return tuple(gpus)


def _kernelspecs(documents: list[object]) -> tuple[Kernelspec, ...]:
    kernelspecs = []
    for spec in documents[:MAX_KERNELSPECS]:
        match spec:
            case {"name": str(name), "display_name": str(shown), "language": str(language)}:
                kernelspecs.append(Kernelspec(clean_line(name, 100), clean_line(shown, 100), clean_line(language, 40)))
            case _:
                raise invalid_reply("invalid description of a kernel")
    return tuple(kernelspecs)


def _package_names(values: object) -> tuple[str, ...]:
    """Empty for an attached server, whose packages are not searched."""
    names = values if isinstance(values, list) else []
    return tuple(clean_line(str(name), 60) for name in names[:MAX_PACKAGES])


def _lines(values: list[object]) -> list[str]:
    return [clean_line(str(line), 300) for line in values[:20]]
