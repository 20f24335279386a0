"""One round trip: the launcher and its orders go to the machine's Python, its answers come back checked."""

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
from .launcher_protocol import EXIT_NO_STREAMS, LauncherProtocol, PythonUnresponsive, probe_failures
from .launcher_protocol import invalid_reply as invalid_reply
from .remote import SOURCES

# The launcher stops waiting first, so that it can still say what it waited for.
MARGIN_S = 2.0
# Login files may take their time; `read` in one of them, with a limit of its own, too.
LOGIN_WAIT_S = 6.0
RETRY_LOGIN_WAIT_S = 0.5


def call_launcher(
    run: RunCommand,
    request: Mapping[str, Any],
    *,
    python: str,
    progress: Progress,
    deadline: Deadline,
    can_forward_to: Callable[[str | int], bool] | None = None,
    on_start: Callable[[], None] = lambda: None,
    login_wait_s: float = LOGIN_WAIT_S,
) -> dict[str, Any]:
    """The launcher's result for ``orders``, still to be checked by who asked.

    ``python``: ``auto``, or a path on the machine. ``reaches``: whether the SSH server leads to a unix socket or port
    of the machine, for a launcher that asks. ``began``: called when the orders are sent. ``patience_s``: see
    ``Dialogue``.

    Raises ``MachineError``: what the launcher reports, ``python-missing``, or ``machine-answer-invalid``; ``SshError``
    ``ssh-refused`` where the login runs no command, and ``ssh-unreachable``.
    """
    marker, ready, search_marker = (f"rr-{each}{secrets.token_hex(12)}" for each in ("", "ready-", "tried-"))
    marker += ":"

    def program() -> bytes:
        on_start()
        within_s = max(1.0, deadline.remaining_s() - MARGIN_S)
        return launcher_input({**request, "marker": marker, "within_s": within_s})

    first_python = PYTHON if python == "auto" else python
    candidates = PYTHONS if python == "auto" else (python,)

    def attempt(argv: Sequence[str], login_wait_s: float) -> tuple[LauncherProtocol, CommandResult]:
        protocol = LauncherProtocol(
            marker, ready, search_marker, program, progress, login_wait_s=login_wait_s, can_forward_to=can_forward_to
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
        except PythonUnresponsive:  # a Python that hangs or prints without end, or a login that does
            login_wait_s = math.inf
            continue
        if protocol.has_started:
            return protocol.result(outcome)
        if outcome.status is None:
            raise SshError("ssh-unreachable", "The SSH connection is lost", outcome.stderr)
        if protocol.ended_by_exit():
            login_wait_s = min(login_wait_s, RETRY_LOGIN_WAIT_S)
    if not protocol.runs_commands:
        raise protocol.not_run_error(outcome)
    names = ", ".join(candidates) if python == "auto" else python
    failures = "; ".join(probe_failures(outcome.stderr, search_marker)) or "none of them is there"
    raise MachineError(
        "python-missing", "The machine has no usable Python", f"tried {names}: {failures}",
        "Install Python 3.8 or newer there, or name it: `jupyter.python`",
    )  # fmt: skip


PYTHON = "python3"
PYTHONS = (
    PYTHON,
    *(f"python3.{minor}" for minor in range(15, 7, -1)),
    "python",
    "/usr/bin/python3",
    "/opt/conda/bin/python3",
    "/usr/local/bin/python3",
)
# No apostrophe, backslash, exclamation mark or line end is in any of these: sh, csh, fish and others then read the
# same words in single quotes.
_CHECK = 'import sys;sys.version_info<(3,6) and sys.exit("Python %d.%d is too old"%sys.version_info[:2])'
# The exit status of a Python that works.
_EXIT_USABLE = 111
_PROBE = _CHECK + f";sys.exit({_EXIT_USABLE})"
# Without the empty entry of sys.path, which is the login's folder: a random.py of the user's must not be run there.
# Lines before the launcher's length are what a shell in its place would have been told.
_ENTRY = (
    ";sys.path[:]=[p for p in sys.path if p];sys.stdout or sys.exit({deaf});"
    'sys.stdout.write(chr(10)+"{ready}"+chr(10));sys.stdout.flush();'
    "n=sys.stdin and next((l for l in sys.stdin.buffer if l.strip().isdigit()),0);n or sys.exit({deaf});"
    "exec(sys.stdin.buffer.read(int(n)))"
)
# Runs the first Python that passes the check: of its PATH, then of a login shell's. Names each on stderr, before what
# that one says. What hangs, prints without end or leaves a program behind is not waited for: `within SECONDS COMMAND`
# has its input on descriptor 3, and `sed` ends with the last line that is awaited.
_SEARCH = (
    "m=$1; e=$2; c=$3; shift 3; echo; echo $m; "
    'within() { t=$1; shift; "$@" <&3 & p=$!; '
    '{ command -p sleep $t & trap "kill $!; exit" TERM; wait $!; kill -9 $p && echo "it does not end" >&4; } '
    "4>&2 </dev/null >/dev/null 2>/dev/null & k=$!; wait $p; s=$?; kill $k 2>/dev/null; return $s; }; "
    'try() { for p do case $p in "~/"*) p=$HOME/${p#*/};; esac; q=$(command -v "$p") || continue; echo "$m $q" >&2; '
    f'within 5 "$q" -E -S -c "$c" 3</dev/null >/dev/null; [ $s = {_EXIT_USABLE} ] && exec "$q" -E -S -c "$e"; '
    '[ $s = 0 ] && echo "it does not answer as Python does" >&2 || echo "exit status $s" >&2; done; }; '
    'try "$@"; '
    's="printf %s: $m; printenv PATH; echo $m"; '
    'l=$(within 20 "$SHELL" -l -c "$s" 3</dev/null 2>/dev/null | command -p sed "/^$m\\$/q;999q"); '
    'case $l in *"$m:"*) ;; *) '  # csh has no -l with -c
    'l=$(echo "$s" | within 20 "$SHELL" -l 3<&0 2>/dev/null | command -p sed "/^$m\\$/q;999q");; esac; '
    'case $l in *"$m:"*) l=${l#*"$m:"}; PATH=$(printf %s "${l%%"$m"*}"); export PATH; try "$@";; esac; exit 127'
)


def direct_command(python: str, ready: str) -> tuple[str, ...]:
    """Says ``ready`` in a line of its own, then reads what ``document`` makes. ``-E -S``: it needs nothing that is
    installed there, so what others put into site-packages or a module system into PYTHONHOME is not in its way."""
    return (python, "-E", "-S", "-c", _CHECK + _ENTRY.format(ready=ready, deaf=EXIT_NO_STREAMS))


def search_command(pythons: tuple[str, ...], ready: str, search_marker: str) -> tuple[str, ...]:
    """As ``command``, with the first of ``pythons`` that works there. A line ``mark`` on stdout shows that it is run at
    all; on stderr a line ``MARK PATH`` comes before the words of each that does not work."""
    python = _CHECK + _ENTRY.format(ready=ready, deaf=EXIT_NO_STREAMS)
    return ("/bin/sh", "-c", _SEARCH, "sh", search_marker, python, _PROBE, *pythons)


def launcher_input(request: Mapping[str, Any]) -> bytes:
    """``LENGTH\\n``, the launcher, and one line with its orders as JSON (with the modules that it needs)."""
    here = Path(__file__).parent
    launcher = (here / "launcher.py").read_text(encoding="utf-8")
    sources = [[name, (here / "remote" / f"{name}.py").read_text(encoding="utf-8")] for name in SOURCES]
    source, request_json = launcher.encode(), json.dumps({**request, "launcher": launcher, "sources": sources})
    return b"%d\n" % len(source) + source + request_json.encode() + b"\n"
