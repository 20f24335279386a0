"""How the machine's Python is reached: the command that asks for it, and what is sent once it has answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .machine import SOURCES

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
_PROVE = _CHECK + ';sys.stdout.write("works")'
# Without the empty entry of sys.path, which is the login's folder: a random.py of the user's must not be run there.
# Lines before the launcher's length are what a shell in its place would have been told.
_ENTRY = (
    ";sys.path[:]=[p for p in sys.path if p];"
    'sys.stdout.write(chr(10)+"{ready}"+chr(10));sys.stdout.flush();'
    "exec(sys.stdin.buffer.read(int(next(l for l in sys.stdin.buffer if l.strip().isdigit()))))"
)
# Runs the first Python that passes the check: of its PATH, then of a login shell's. Names each on stderr, before what
# that one says.
_SEARCH = (
    "m=$1; e=$2; c=$3; shift 3; echo; echo $m; "
    'try() { for p do case $p in "~/"*) p=$HOME/${p#*/};; esac; q=$(command -v "$p") || continue; echo "$m $q" >&2; '
    'o=$("$q" -E -S -c "$c" </dev/null); case $o in works) exec "$q" -E -S -c "$e";; *) echo "$o" >&2;; esac; done; }; '
    'try "$@"; '
    's="printf %s: $m; printenv PATH; echo $m"; l=$("$SHELL" -l -c "$s" </dev/null 2>/dev/null); '
    'case $l in *"$m:"*) ;; *) l=$(echo "$s" | "$SHELL" -l 2>/dev/null);; esac; '  # csh has no -l with -c
    'case $l in *"$m:"*) l=${l#*"$m:"}; PATH=$(printf %s "${l%%"$m"*}"); export PATH; try "$@";; esac; exit 127'
)


def command(python: str, ready: str) -> tuple[str, ...]:
    """Says ``ready`` in a line of its own, then reads what ``document`` makes. ``-E -S``: it needs nothing that is
    installed there, so what others put into site-packages or a module system into PYTHONHOME is not in its way."""
    return (python, "-E", "-S", "-c", _CHECK + _ENTRY.format(ready=ready))


def search(pythons: tuple[str, ...], ready: str, mark: str) -> tuple[str, ...]:
    """As ``command``, with the first of ``pythons`` that works there. A line ``mark`` on stdout shows that it is run at
    all; on stderr a line ``MARK PATH`` comes before the words of each that does not work."""
    python = _CHECK + _ENTRY.format(ready=ready)
    return ("/bin/sh", "-c", _SEARCH, "sh", mark, python, _PROVE, *pythons)


def document(orders: Mapping[str, Any]) -> bytes:
    """``LENGTH\\n``, the launcher, and one line with its orders as JSON (with the modules that it needs)."""
    here = Path(__file__).parent
    launcher = (here / "launcher.py").read_text(encoding="utf-8")
    sources = [[name, (here / "machine" / f"{name}.py").read_text(encoding="utf-8")] for name in SOURCES]
    source, told = launcher.encode(), json.dumps({**orders, "launcher": launcher, "sources": sources})
    return b"%d\n" % len(source) + source + told.encode() + b"\n"
