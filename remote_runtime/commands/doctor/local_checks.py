"""Checks of this computer without a profile, and of the running runtimes."""

from __future__ import annotations

import os
import platform
import shlex
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
from .checks import RUNTIME_PREFIX

LIBRARIES = ("paramiko", "cryptography", "google-cloud-compute", "google-auth", "websockets", "click", "jupyter_server")
SSH_TIMEOUT_S = 5.0
# Measured with Chromium 156 and Firefox ESR 153.
CHROME_NOTE = 'Allow "Access other apps and services on this device" when the browser asks'
FIREFOX_NOTE = (
    "Allow the page to access this device when Firefox asks; older versions also need "
    "network.websocket.allowInsecureFromHTTPS = true in about:config"
)


def check_computer(
    checklist: Checklist, state: StateDir, environ: Mapping[str, str], runtimes: Sequence[Mapping[str, Any]]
) -> None:
    """``runtimes``: RUNTIME documents."""
    checklist.ok("version", version_line())
    text = f"{state.path} is private and writable"
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
    """Versions of the dependencies, without importing them."""
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
        checklist.ok("profiles", f"{len(found)} valid profiles: {', '.join(each.name for each in found)}")
    for each in invalid:
        hint = f"`remote-runtime profiles check {shlex.quote(str(each.path))}` lists every mistake"
        what = f"The profile {each.name} is invalid"
        checklist.fail("profiles", UsageError("profile-invalid", what, each.problem or "", hint))


def _check_openssh(checklist: Checklist, environ: Mapping[str, str]) -> None:
    version = openssh_version(environ)
    if version:
        agent = environ.get("SSH_AUTH_SOCK", "")
        there = "ssh-agent is running" if agent and Path(agent).exists() else "ssh-agent is not running"
        checklist.ok("ssh", f"{version}; {there}")
    else:
        checklist.warn(
            "ssh",
            "The OpenSSH client is not installed",
            "Include and Match in ~/.ssh/config require it",
            "Install the OpenSSH client, or set `target.host`, `ssh.user` and `ssh.identity_file` in the profile",
        )


def _check_port(checklist: Checklist, runtimes: Sequence[Mapping[str, Any]]) -> None:
    port = ports.FIRST_PORT
    try:
        for listener in ports.bind(port):
            listener.close()
    except LocalError as error:
        if any(runtime["local_port"] == port and runtime["state"] != "down" for runtime in runtimes):
            checklist.ok("port", f"{port} is used by your runtime")
        else:
            checklist.warn(
                "port",
                f"The default port {port} is in use",
                error.why,
                "Runtimes use the next free port; `forward.local_port` in a profile sets another one",
            )
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        checklist.fail("port", LocalError("port-in-use", "Can't open a local port", why))
    else:
        both = "127.0.0.1 and ::1" if socket.has_ipv6 else "127.0.0.1"
        checklist.ok("port", f"{port} is free on {both}")


def _check_runtime(checklist: Checklist, status: Mapping[str, Any], reference: str) -> None:
    name = status["name"]
    check = f"{RUNTIME_PREFIX}{name}"
    error = running_checks.runtime_error(status)
    if status["state"] == "ready":
        checklist.ok(check, f"Ready at http://{status.get('local_host', 'localhost')}:{status['local_port']}/")
    elif status["state"] == "starting":
        checklist.ok(check, "Starting")
    elif status["state"] == "down" or error is None:
        checklist.warn(
            check,
            "Down, but not cleaned up",
            status["why"],
            fill_in_profile(
                "`remote-runtime up PROFILE` starts it, `remote-runtime down PROFILE` cleans up", reference
            ),
        )
    else:
        checklist.fail(check, with_default_hint(error, reference))


def add_browser_notes(checklist: Checklist) -> None:
    checklist.note("chrome", CHROME_NOTE)
    checklist.note("firefox", FIREFOX_NOTE)
    if sys.platform == "darwin":
        why = "Safari blocks http://localhost on https pages"
        checklist.warn("safari", "Safari can't connect Colab to this computer", why, "Use Chrome")
    else:
        checklist.add(Finding("safari", "skipped", "skipped", "Safari runs on macOS only"))
