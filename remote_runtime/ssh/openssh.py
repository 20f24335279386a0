"""What ``ssh -G`` says of a host: OpenSSH's own reading of its configuration."""

from __future__ import annotations

import glob
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..errors import SshError
from .config_file import SYSTEM
from .places import expand, home_of, own_name

_OPENSSH_S = 5.0


def ask(host: str, user: str | None, port: int | None, environ: Mapping[str, str]) -> dict[str, tuple[str, ...]] | None:
    """Include, Match and all defaults resolved. ``ssh`` looks up the home directory itself, so a HOME that differs is
    told to it. None if it cannot be run; raises ``SshError`` ``ssh-config-unsupported`` when it complains."""
    home, name = home_of(environ), own_name()
    if not name:
        return None  # ssh refuses to run for a uid without a name
    passwd_home = Path(os.path.expanduser(f"~{name}"))
    with _files(home, passwd_home) as files:
        words = ["ssh", "-G", *files, *(["-l", user] if user else []), *(["-p", str(port)] if port else [])]
        try:
            done = subprocess.run(
                [*words, "--", host],
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_OPENSSH_S,
            )
        except OSError:
            return None
        except subprocess.TimeoutExpired as error:
            raise _complaint(f"`ssh -G {host}` took more than {_OPENSSH_S:.0f} s", host) from error
    if done.returncode != 0:
        raise _complaint("; ".join(done.stderr.strip().splitlines()[:3]) or "`ssh -G` failed", host)
    options: dict[str, tuple[str, ...]] = {}
    for line in done.stdout.split("\n"):
        key, _, value = line.partition(" ")
        if home != passwd_home and key.lower().endswith(("file", "agent")):
            value = f" {value}".replace(f" {passwd_home}/.ssh/", " ~/.ssh/")[1:]
        options[key.lower()] = (*options.get(key.lower(), ()), value)
    return options


def paths(value: str, home: Path) -> list[str]:
    """The files of a list that ``ssh -G`` prints without its quotes: blanks belong to a path where it then exists."""
    words = value.split(" ")
    found = []
    while words:
        ends = range(len(words), 0, -1)
        end = next((end for end in ends if expand(" ".join(words[:end]), home).exists()), 1)
        found.append(" ".join(words[:end]))
        words = words[end:]
    return [path for path in found if path]


@contextmanager
def _files(home: Path, passwd_home: Path) -> Iterator[list[str]]:
    """``-F`` would take the system's file away, so it is told of both."""
    if home == passwd_home:
        yield []
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "config")
        both = [home / ".ssh" / "config", SYSTEM]
        file.write_text("".join(f'Include "{glob.escape(str(each))}"\n' for each in both), encoding="utf-8")
        yield ["-F", str(file)]


def _complaint(why: str, host: str) -> SshError:
    return SshError("ssh-config-unsupported", f"OpenSSH does not accept its configuration for {host}", why)
