"""One request to the machine: starts its Python, sends the launcher and the request, returns the checked reply."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.callbacks import CommandResult, Progress, RunCommand
from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, MachineError, SshError
from .protocol import EXIT_NO_STREAMS, LauncherProtocol, PythonUnresponsive, probe_failures
from .protocol import invalid_reply as invalid_reply

# The launcher's time ends first, so that it can still reply what it waited for.
MARGIN_S = 2.0
# Login files take time; one may call `read` with a time limit.
LOGIN_WAIT_S = 6.0
RETRY_LOGIN_WAIT_S = 0.5
# The first is empty; the second goes as text with a start of Jupyter.
NOT_SENT = ("__init__", "run_server", "scheduler_preload", "worker_preload")
PYTHON = "python3"
PYTHONS = (
    PYTHON,
    *(f"python3.{minor}" for minor in range(15, 7, -1)),
    "python",
    "/usr/bin/python3",
    "/opt/conda/bin/python3",
    "/usr/local/bin/python3",
    *(f"~/{conda}/bin/python3" for conda in ("miniconda3", "anaconda3", "miniforge3", "mambaforge")),
)
# These programs have no apostrophe, backslash, exclamation mark or line end, so that sh, csh, fish and others read them
# alike in single quotes. They must compile on any Python 3.
_CHECK = 'import sys;sys.version_info<(3,8) and sys.exit("Python %d.%d is too old"%sys.version_info[:2])'
_EXIT_USABLE = 111
_PROBE = _CHECK + f";sys.exit({_EXIT_USABLE})"
# Removes the empty entry of sys.path: a random.py in the login's folder must not be imported. Skips lines before the
# launcher's length, which were meant for a shell.
_ENTRY = (
    ";sys.path[:]=[p for p in sys.path if p];sys.stdout or sys.exit({no_streams});"
    'sys.stdout.write(chr(10)+"{ready}"+chr(10));sys.stdout.flush();'
    "n=sys.stdin and next((l for l in sys.stdin.buffer if l.strip().isdigit()),0);n or sys.exit({no_streams});"
    "exec(sys.stdin.buffer.read(int(n)))"
)
# Runs the first Python that passes the check, on its own PATH, then on a login shell's. Writes each path to stderr,
# before the error. Does not wait for a program that hangs, prints without end or leaves a process behind:
# `within SECONDS COMMAND` reads stdin from descriptor 3, and `sed` ends after the last expected line.
_SEARCH = (
    "m=$1; e=$2; c=$3; shift 3; echo; echo $m; "
    'within() { t=$1; shift; "$@" <&3 & p=$!; '
    '{ command -p sleep $t & trap "kill $!; exit" TERM; wait $!; kill -9 $p && echo "it does not exit" >&4; } '
    "4>&2 </dev/null >/dev/null 2>/dev/null & k=$!; wait $p; s=$?; kill $k 2>/dev/null; return $s; }; "
    'try() { for p do case $p in "~/"*) p=$HOME/${p#*/};; esac; q=$(command -v "$p") || continue; echo "$m $q" >&2; '
    f'within 5 "$q" -E -S -c "$c" 3</dev/null >/dev/null; [ $s = {_EXIT_USABLE} ] && exec "$q" -E -S -c "$e"; '
    '[ $s = 0 ] && echo "it is not a Python" >&2 || echo "exit status $s" >&2; done; }; '
    'try "$@"; '
    's="printf %s: $m; printenv PATH; echo $m"; '
    'l=$(within 20 "$SHELL" -l -c "$s" 3</dev/null 2>/dev/null | command -p sed "/^$m\\$/q;999q"); '
    'case $l in *"$m:"*) ;; *) '  # csh has no -l with -c
    'l=$(echo "$s" | within 20 "$SHELL" -l 3<&0 2>/dev/null | command -p sed "/^$m\\$/q;999q");; esac; '
    'case $l in *"$m:"*) l=${l#*"$m:"}; PATH=$(printf %s "${l%%"$m"*}"); export PATH; try "$@";; esac; exit 127'
)


def call_launcher(
    run: RunCommand,
    request: Mapping[str, Any],
    *,
    program: str,
    python: str,
    progress: Progress,
    deadline: Deadline,
    can_forward_to: Callable[[str | int], bool] | None = None,
    on_start: Callable[[], None] = lambda: None,
    login_wait_s: float = LOGIN_WAIT_S,
    start_s: float = math.inf,
    borrowed: Sequence[str] = (),
) -> dict[str, Any]:
    """The launcher's result for ``request``; the caller checks its content.

    ``program``: the package whose ``remote/dispatch.py`` handles the request. ``python``: ``auto``, or a path on the
    machine. ``can_forward_to``: whether the SSH server forwards to a unix socket or port of the machine, for a launcher
    that asks. ``on_start``: called when the request is sent. ``login_wait_s``: see ``LauncherProtocol``. ``start_s``:
    the part of the deadline for all but the installation of packages. ``borrowed``: as of ``launcher_input``.

    Raises ``MachineError``: the launcher's own, ``python-missing``, or ``machine-answer-invalid``; ``SshError``:
    ``ssh-refused`` if the login runs no command, and ``ssh-unreachable``.
    """
    marker, ready, search_marker = (f"rr-{each}{secrets.token_hex(12)}" for each in ("", "ready-", "tried-"))
    marker += ":"

    def new_input() -> bytes:
        on_start()
        within_s = max(1.0, deadline.remaining_s() - MARGIN_S)
        limits = {"within_s": within_s, "install_s": max(0.0, within_s - start_s)}
        return launcher_input(program, {**request, **limits, "marker": marker}, borrowed)

    first_python = PYTHON if python == "auto" else python
    candidates = PYTHONS if python == "auto" else (python,)

    def attempt(argv: Sequence[str], login_wait_s: float) -> tuple[LauncherProtocol, CommandResult]:
        protocol = LauncherProtocol(
            marker, ready, search_marker, new_input, progress, login_wait_s=login_wait_s, can_forward_to=can_forward_to
        )
        try:
            outcome = run(argv, stdin=b"", on_line=protocol.on_line, reply=protocol.next_input, deadline=deadline)
        except DeadlinePassed as error:
            raise protocol.timeout_error(deadline, error.why) from error
        except MachineError as error:
            if protocol.has_started:
                raise
            raise (PythonUnresponsive() if argv[0] == first_python else protocol.endless_output_error()) from error
        return attempt(argv, math.inf) if protocol.is_late else (protocol, outcome)

    for argv in (direct_command(first_python, ready), search_command(candidates, ready, search_marker)):
        try:
            protocol, outcome = attempt(argv, login_wait_s)
        except PythonUnresponsive:  # Python, or a login file, hangs or prints without end
            login_wait_s = math.inf
            continue
        if protocol.has_started:
            return protocol.result(outcome)
        if outcome.status is None:
            raise SshError("ssh-unreachable", "The SSH connection was lost", outcome.stderr)
        if protocol.ended_by_exit():
            login_wait_s = min(login_wait_s, RETRY_LOGIN_WAIT_S)
    if not protocol.runs_commands:
        raise protocol.not_run_error(outcome)
    names = ", ".join(candidates) if python == "auto" else python
    failures = "; ".join(probe_failures(outcome.stderr, search_marker)) or "none of them exists"
    raise MachineError(
        "python-missing", "The machine has no usable Python", f"tried {names}: {failures}",
        "Install Python 3.8 or newer there, or set its path: `jupyter.python`",
    )  # fmt: skip


def direct_command(python: str, ready: str) -> tuple[str, ...]:
    """Prints ``ready`` in a line of its own, then reads ``launcher_input``. ``-E -S``: the launcher needs no installed
    package, so site-packages and a PYTHONHOME cannot break it."""
    return (python, "-E", "-S", "-c", _CHECK + _ENTRY.format(ready=ready, no_streams=EXIT_NO_STREAMS))


def search_command(pythons: tuple[str, ...], ready: str, search_marker: str) -> tuple[str, ...]:
    """As ``direct_command``, with the first of ``pythons`` that works. Prints ``search_marker`` in a line first:
    commands are run at all. On stderr, a line ``MARKER PATH`` precedes the error of each that does not work."""
    python = _CHECK + _ENTRY.format(ready=ready, no_streams=EXIT_NO_STREAMS)
    return ("/bin/sh", "-c", _SEARCH, "sh", search_marker, python, _PROBE, *pythons)


def launcher_input(program: str, request: Mapping[str, Any], borrowed: Sequence[str] = ()) -> bytes:
    """``LENGTH\\n``, the launcher, and one line: the request as JSON, with the launcher and the modules of
    ``program``. ``borrowed``: modules of other packages that these import, such as ``jupyter.remote.processes``."""
    launcher = Path(__file__).with_name("program.py").read_text(encoding="utf-8")
    sources = [
        [f"{package}.remote.{path.stem}", path.read_text(encoding="utf-8")]
        for package in ("launcher", program)
        for path in sorted((Path(__file__).parents[1] / package / "remote").glob("*.py"))
        if path.stem not in NOT_SENT
    ]
    for name in borrowed:
        path = Path(__file__).parents[1].joinpath(*name.split(".")).with_suffix(".py")
        sources.append([name, path.read_text(encoding="utf-8")])
    dispatch = f"{program}.remote.dispatch"
    source = launcher.encode()
    document = json.dumps({**request, "launcher": launcher, "sources": sources, "program": dispatch})
    return b"%d\n" % len(source) + source + document.encode() + b"\n"
