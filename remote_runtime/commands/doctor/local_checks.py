"""Checks of this computer without a profile, and of the runtimes that are up."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from ... import profiles
from ..._version import __version__
from ...core.errors import LocalError, UsageError, with_default_hint
from ...core.errors.catalogue import fill_in_profile
from ...core.model import Finding
from ...state.store import StateDir, check_writable
from ...tunnel import ports
from ..profile_reference import profile_reference
from . import running_checks
from .checklist import Checklist

LIBRARIES = ("paramiko", "cryptography", "google-cloud-compute", "google-auth", "websockets", "click", "jupyter_server")
SSH_TIMEOUT_S = 5.0
# Measured with Chromium 156 and Firefox ESR 153. Neither a page nor a server can read these settings.
BROWSER_CHECKS = ("chrome", "firefox", "safari")
CHROME_NOTE = 'Chrome and Edge ask once for "Access other apps and services on this device": allow it'
FIREFOX_NOTE = (
    "Firefox asks once whether the page may access this device: allow it; older versions also need "
    "network.websocket.allowInsecureFromHTTPS = true in about:config"
)


def check_computer(
    checklist: Checklist, state: StateDir, environ: Mapping[str, str], runtimes: Sequence[Mapping[str, Any]]
) -> None:
    """``runtimes``: RUNTIME documents."""
    checklist.ok("version", version_line())
    text = f"{state.path} is private and can be written"
    checklist.step_value(
        ["state-folder"], lambda: check_writable(state), lambda _: {"state-folder": text}, essential=False
    )
    _check_profiles(checklist, environ)
    _check_openssh(checklist, environ)
    _check_port(checklist, runtimes)
    for runtime in runtimes:
        _check_runtime(checklist, runtime, profile_reference(runtime["name"], state, environ))
    add_browser_notes(checklist)


def versions() -> dict[str, str]:
    """Versions of our dependencies, without importing them."""
    found = {"remote-runtime": __version__, "Python": platform.python_version(), "system": platform.platform()}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            found[library] = "not installed"
    return found


def version_line() -> str:
    return f"remote-runtime {__version__}, Python {platform.python_version()}, {platform.system()} {platform.release()}"


def openssh_version(environ: Mapping[str, str]) -> str:
    """The output of ``ssh -V``; empty without OpenSSH."""
    program = shutil.which("ssh", path=environ.get("PATH"))
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, "-V"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SSH_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stderr.strip() or done.stdout.strip()


def _check_profiles(checklist: Checklist, environ: Mapping[str, str]) -> None:
    found = [each for each in profiles.list_profiles(environ) if not each.shadowed]
    invalid = [each for each in found if each.problem]
    if not invalid:
        checklist.ok("profiles", f"{len(found)} can be used: {', '.join(each.name for each in found)}")
    for each in invalid:
        hint = f"`remote-runtime profiles check {each.path}` names every mistake"
        what = f"{each.name} cannot be used"
        checklist.fail("profiles", UsageError("profile-invalid", what, each.problem or "", hint))


def _check_openssh(checklist: Checklist, environ: Mapping[str, str]) -> None:
    version = openssh_version(environ)
    if version:
        agent = environ.get("SSH_AUTH_SOCK", "")
        there = "an agent is there" if agent and Path(agent).exists() else "no agent is there"
        checklist.ok("ssh", f"{version} reads ~/.ssh/config; {there}")
    else:
        checklist.warn(
            "ssh",
            "OpenSSH's client is not installed",
            "without it, Include and Match of ~/.ssh/config are not followed",
            "Install OpenSSH's client, or say all in the profile: `target.host`, `ssh.user`, `ssh.identity_file`",
        )


def _check_port(checklist: Checklist, runtimes: Sequence[Mapping[str, Any]]) -> None:
    port = ports.FIRST_PORT
    try:
        for listener in ports.bind(port):
            listener.close()
    except LocalError as error:
        if any(runtime["local_port"] == port and runtime["state"] != "down" for runtime in runtimes):
            checklist.ok("port", f"local port {port} belongs to a runtime of yours")
        else:
            checklist.warn(
                "port",
                f"local port {port}, which is tried first, is taken",
                error.why,
                "A runtime takes the next free one; `forward.local_port` names another",
            )
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        checklist.fail("port", LocalError("port-in-use", "No local port can be opened", why))
    else:
        both = "127.0.0.1 and ::1" if socket.has_ipv6 else "127.0.0.1"
        checklist.ok("port", f"local port {port} is free, on {both}")


def _check_runtime(checklist: Checklist, status: Mapping[str, Any], reference: str) -> None:
    name = status["name"]
    check = f"runtime {name}"
    error = running_checks.runtime_error(status)
    if status["state"] == "ready":
        checklist.ok(check, f"ready at http://{status.get('local_host', 'localhost')}:{status['local_port']}/")
    elif status["state"] == "starting":
        checklist.ok(check, "it is being brought up")
    elif status["state"] == "down" or error is None:
        checklist.warn(
            check,
            "it is down, and something of it may be left",
            status["why"],
            fill_in_profile(
                "`remote-runtime up PROFILE` brings it up, `remote-runtime down PROFILE` clears it", reference
            ),
        )
    else:
        checklist.fail(check, with_default_hint(error, reference))


def add_browser_notes(checklist: Checklist) -> None:
    checklist.note("chrome", CHROME_NOTE)
    checklist.note("firefox", FIREFOX_NOTE)
    if sys.platform == "darwin":
        why = "it blocks http://localhost on https pages"
        checklist.warn("safari", "Safari may not let the page connect", why, "Use Chrome")
    else:
        checklist.add(Finding("safari", "skipped", "skipped", "Safari is not on this system"))
