"""The host names in ~/.ssh/config, to choose from. ``ssh_config`` resolves them."""

from __future__ import annotations

import glob
import shlex
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...core.deadline import Deadline
from ..connectors import resolve_name
from .paths import expand_home, home_dir

MAX_HOSTS = 500
MAX_FILE_BYTES = 1 << 20
_RESOLVE_TIMEOUT_S = 3.0


def host_aliases(environ: Mapping[str, str]) -> dict[str, str]:
    """Each ``Host`` without wildcards, and the HostName beside it (empty if there is none), in the file's order."""
    home = home_dir(environ)
    found: dict[str, str] = {}
    names: list[str] = []
    own = home / ".ssh" / "remote-runtime" / "config"  # its hosts are profiles already
    for keyword, words in _lines(home / ".ssh" / "config", home, {own}):
        if keyword in ("host", "match"):
            names = [word for word in words if not set(word) & set("*?!")] if keyword == "host" else []
            for name in names[: MAX_HOSTS - len(found)]:
                found.setdefault(name, "")
        elif keyword == "hostname" and words:
            found.update({name: words[0] for name in names if found.get(name) == ""})
    return found


def _lines(file: Path, home: Path, seen: set[Path]) -> Iterator[tuple[str, list[str]]]:
    """Each file once, since files may include each other."""
    if file in seen:
        return
    seen.add(file)
    try:
        with file.open("rb") as opened:
            text = opened.read(MAX_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return  # missing, or not readable
    for line in text.splitlines():
        try:
            words = shlex.split(line.replace("=", " ", 1), comments=True)
        except ValueError:
            continue  # OpenSSH reports it when the host is used
        if not words:
            continue
        keyword = words[0].lower()
        if keyword == "include":
            for pattern in words[1:]:
                for each in sorted(glob.glob(str(home / ".ssh" / expand_home(pattern, home)))):
                    yield from _lines(Path(each), home, seen)
        else:
            yield keyword, words[1:]


def is_resolvable(host: str) -> bool:
    """False if the system answers within ``_RESOLVE_TIMEOUT_S`` that there is no such host."""
    try:
        resolve_name(host, 22, socket.AF_UNSPEC, Deadline(_RESOLVE_TIMEOUT_S))
    except TimeoutError:
        return True
    except (OSError, UnicodeError):
        return False
    return True
