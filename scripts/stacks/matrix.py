"""``scripts/matrix``: the bridge's tests on the Jupyters that people have.

Each row is an environment of its own (in .venvs, or below the directory that --where names); the tests run in this
one and start their servers with that environment's Python.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from . import venvs

RUN_LIMIT_S = 600.0
NAMES = (
    "bodies", "limits", "pages", "proxied_ws", "secrets", "http_over_websocket", "upstream",
    "streams", "absent_clients", "outputs",
)  # fmt: skip
TESTS = tuple(f"tests/integration/bridge/test_{name}.py" for name in NAMES)
SHOWN = ("jupyter_server", "notebook", "jupyterlab", "tornado")
# On old Pythons pip searches for hours without these.
OLD = ("ipykernel==6.29.5", "ipython==8.12.3", "nbconvert==7.16.4")
# Notebook 6.4 does not start under newer versions of traitlets.
CLASSIC = (*OLD, "jupyter_client==7.4.9", "traitlets==5.9.0")


@dataclass(frozen=True)
class Row:
    name: str
    python: str
    packages: tuple[str, ...]
    classic: bool = False
    in_ci: bool = False


ROWS = (
    Row("server-1.24", "3.8", ("jupyter_server==1.24.0", *OLD, "jupyter_client<8", "tornado==6.1"), in_ci=True),
    Row("server-2.0", "3.9", ("jupyter_server==2.0.7", *OLD, "jupyter_client==7.4.9", "tornado==6.2")),
    Row("server-2.0-late", "3.10", ("jupyter_server==2.0.7", *OLD, "jupyter_client==8.6.3", "tornado==6.3.3")),
    Row("server-2.14", "3.12", ("jupyter_server==2.14.2", *OLD, "jupyter_client==8.6.3", "tornado==6.4.2")),
    Row("server-newest", "3.13", ("jupyter_server", "ipykernel", "tornado==6.6.*")),
    Row("python-3.14", "3.14", ("jupyter_server", "ipykernel", "tornado==6.6.*")),
    Row("python-3.15", "3.15", ("jupyter_server", "ipykernel", "tornado==6.6.*")),
    Row("notebook-6.4", "3.10", ("notebook==6.4.12", *CLASSIC, "tornado==6.4.2"), classic=True, in_ci=True),
    Row("notebook-6.5", "3.11", ("notebook==6.5.7", *CLASSIC, "tornado==6.5.*"), classic=True),
    Row("notebook-7", "3.12", ("notebook==7.*", "ipykernel", "tornado==6.5.*")),
    Row("lab-3", "3.9", ("jupyterlab==3.6.8", "jupyter_server==1.24.0", *OLD, "jupyter_client<8", "tornado==6.1")),
    Row("lab-4", "3.11", ("jupyterlab==4.*", "ipykernel", "tornado==6.5.*")),
)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/matrix", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows to run (default: all)")
    parser.add_argument("--list", action="store_true", help="name the rows and what is in them")
    parser.add_argument("--ci", action="store_true", help="the oldest server and the classic notebook only")
    parser.add_argument("--where", type=Path, default=venvs.VENVS, help="where the environments are kept")
    asked = parser.parse_args(arguments)
    unknown = set(asked.names) - {row.name for row in ROWS}
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}; --list names them")
    rows = [row for row in ROWS if (row.name in asked.names if asked.names else row.in_ci or not asked.ci)]
    if asked.list:
        sys.stdout.writelines(f"{row.name:16} Python {row.python:4} {' '.join(row.packages)}\n" for row in rows)
        return 0
    # Not a generator: every row runs, whatever came of those before it.
    return 0 if all([_run(row, asked.where) for row in rows]) else 1


def _run(row: Row, where: Path) -> bool:
    began = time.monotonic()
    try:
        python = venvs.ensure(row.name, row.python, row.packages, where=where.resolve())
        result = _tested(row, python)
        has = _versions(python)
    except (venvs.Unavailable, subprocess.TimeoutExpired) as failure:
        result, has = f"not run: {failure}", ""
    is_good = re.fullmatch(r"\d+ passed", result) is not None
    taken_s = time.monotonic() - began
    sys.stdout.write(f"{row.name:16} Python {row.python:4} {result}, {taken_s:.0f} s ({has})\n")
    sys.stdout.flush()
    return is_good


def _tested(row: Row, python: Path) -> str:
    """pytest's last line without its time; what failed is on stderr by then."""
    chosen = {"BRIDGE_TEST_PYTHON": str(python), **({"BRIDGE_TEST_CLASSIC": "1"} if row.classic else {})}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no", *TESTS]
    done = subprocess.run(
        command,
        cwd=venvs.ROOT,
        env={**os.environ, **chosen},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT_S,
        check=False,
    )
    if done.returncode != 0:
        sys.stderr.write(done.stdout[-20_000:] + done.stderr)
    lines = done.stdout.strip().splitlines() or ["pytest said nothing"]
    return lines[-1].partition(" in ")[0]


def _versions(python: Path) -> str:
    code = (
        "import sys\nfrom importlib.metadata import PackageNotFoundError, version\n"
        "for name in sys.argv[1:]:\n    try: print(name, version(name))\n    except PackageNotFoundError: pass"
    )
    done = subprocess.run([str(python), "-c", code, *SHOWN], capture_output=True, text=True, check=True)
    return ", ".join(done.stdout.splitlines())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
