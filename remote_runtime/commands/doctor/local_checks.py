"""This computer, without a profile: what every runtime needs here, and the runtimes that are up."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from ... import profiles
from ..._version import __version__
from ...core.errors import LocalError, UsageError, advised
from ...state.store import StateDir, check_writable
from ...tunnel import ports
from . import browsers, running_checks
from .checklist import Checkup

LIBRARIES = ("paramiko", "cryptography", "google-cloud-compute", "google-auth", "websockets", "click", "jupyter_server")
SSH_S = 5.0


def look(checkup: Checkup, state: StateDir, environ: Mapping[str, str], up: Sequence[Mapping[str, Any]]) -> None:
    """``up``: RUNTIME of each runtime there is."""
    checkup.holds("version", versions_in_words())
    _state_folder(checkup, state)
    _profiles(checkup, environ)
    _openssh(checkup, environ)
    _loopback(checkup, up)
    for runtime in up:
        _runtime(checkup, runtime)
    browsers.tell(checkup)


def _state_folder(checkup: Checkup, state: StateDir) -> None:
    try:
        check_writable(state)
    except LocalError as error:
        checkup.fails("state-folder", error)
    else:
        checkup.holds("state-folder", f"{state.path} is private and can be written")


def versions() -> dict[str, str]:
    """Of what takes part, without importing any of it."""
    found = {"remote-runtime": __version__, "Python": platform.python_version(), "system": platform.platform()}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            found[library] = "not installed"
    return found


def versions_in_words() -> str:
    return f"remote-runtime {__version__}, Python {platform.python_version()}, {platform.system()} {platform.release()}"


def openssh(environ: Mapping[str, str]) -> str:
    """What ``ssh -V`` says; empty where there is none."""
    program = shutil.which("ssh", path=environ.get("PATH"))
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, "-V"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SSH_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stderr.strip() or done.stdout.strip()


def _profiles(checkup: Checkup, environ: Mapping[str, str]) -> None:
    found = [each for each in profiles.find_all(environ) if not each.shadowed]
    bad = [each for each in found if each.problem]
    if not bad:
        checkup.holds("profiles", f"{len(found)} can be used: {', '.join(each.name for each in found)}")
    for each in bad:
        hint = f"`remote-runtime profiles check {each.path}` names every mistake"
        what = f"{each.name} cannot be used"
        checkup.fails("profiles", UsageError("profile-invalid", what, each.problem or "", hint))


def _openssh(checkup: Checkup, environ: Mapping[str, str]) -> None:
    version = openssh(environ)
    if version:
        agent = environ.get("SSH_AUTH_SOCK", "")
        there = "an agent is there" if agent and Path(agent).exists() else "no agent is there"
        checkup.holds("ssh", f"{version} reads ~/.ssh/config; {there}")
    else:
        checkup.warn(
            "ssh",
            "OpenSSH's client is not installed",
            "without it, Include and Match of ~/.ssh/config are not followed",
            "Install OpenSSH's client, or say all in the profile: `target.host`, `ssh.user`, `ssh.identity_file`",
        )


def _loopback(checkup: Checkup, up: Sequence[Mapping[str, Any]]) -> None:
    first = ports.FIRST_PORT
    try:
        for listener in ports.bind(first):
            listener.close()
    except LocalError as error:
        if any(runtime["local_port"] == first and runtime["state"] != "down" for runtime in up):
            checkup.holds("port", f"local port {first} belongs to a runtime of yours")
        else:
            checkup.warn(
                "port",
                f"local port {first}, which is tried first, is taken",
                error.why,
                "A runtime takes the next free one; `forward.local_port` names another",
            )
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        checkup.fails("port", LocalError("port-in-use", "No local port can be opened", why))
    else:
        both = "127.0.0.1 and ::1" if socket.has_ipv6 else "127.0.0.1"
        checkup.holds("port", f"local port {first} is free, on {both}")


def _runtime(checkup: Checkup, now: Mapping[str, Any]) -> None:
    name = now["name"]
    check = f"runtime {name}"
    error = running_checks.trouble(now)
    if now["state"] == "ready":
        checkup.holds(check, f"ready at http://{now.get('local_host', 'localhost')}:{now['local_port']}/")
    elif now["state"] == "starting":
        checkup.holds(check, "it is being brought up")
    elif now["state"] == "down" or error is None:
        checkup.warn(
            check,
            "it is down, and something of it may be left",
            now["why"],
            f"`remote-runtime up {name}` brings it up, `remote-runtime down {name}` clears it",
        )
    else:
        checkup.fails(check, advised(error, name))
