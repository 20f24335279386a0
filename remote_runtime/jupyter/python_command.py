"""How the machine's Python is reached: the command that asks for it, and what is sent once it has answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .remote import SOURCES

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
# The exit status of a Python that works; and of one that can say nothing, or hears no program.
_EXIT_USABLE, EXIT_NO_STREAMS = 111, 113
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
