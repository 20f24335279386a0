"""`logs`."""

from __future__ import annotations

import os
import re
import threading
from datetime import datetime, timedelta, timezone

import click

from ..core.errors import UsageError
from .common import OutputOptions, common, name_of, state
from .completion import logged_names
from .default_name import running_or_logged, runtime_argument
from .group import ThemedCommand, examples
from .output import console

DEFAULT_LINES = 50
MAX_LINES = 100_000
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _moment(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """The moment that is a duration such as ``10m`` ago."""
    if value is None:
        return None
    match = re.fullmatch("([0-9]{1,6})([smhd])", value)
    if match is None:
        raise click.BadParameter(f"expected a duration such as 10m or 2h, got {value}")
    return datetime.now(timezone.utc) - timedelta(seconds=int(match[1]) * UNITS_S[match[2]])


@click.command(
    cls=ThemedCommand,
    epilog=examples(
        "logs",
        "logs my-vm -n 200",
        "logs my-vm --since 10m -f",
        "logs my-vm --server    # Jupyter's log on the machine",
    ),
)
@runtime_argument(logged_names, find=running_or_logged)
@click.option(
    "-n", "--lines", "--tail", type=click.IntRange(0, MAX_LINES), metavar="N", help="Last N lines (default 50)."
)
@click.option("--since", callback=_moment, metavar="DURATION", help="Only lines of the last 10m or 2h.")
@click.option("--server", is_flag=True, help="Show Jupyter's log instead.")
@click.option("-f", "--follow", is_flag=True, help="Print new lines until Ctrl-C.")
@common
def logs(
    profile: str, lines: int | None, since: datetime | None, server: bool, follow: bool, output: OutputOptions
) -> None:
    """Show the log of a runtime.

    You can leave PROFILE out while one runtime is running. Times are local; -v also shows the module of each line.
    With --json the lines are as in the file.
    """
    from ..commands.logs import read_log
    from ..commands.status import require_known_name
    from .output.log_lines import format_line

    if server and since is not None:
        raise UsageError("usage", "--since excludes --server", "lines of Jupyter's log have no time zone")
    if output.as_json and follow:
        raise UsageError("usage", "--json excludes --follow", "the result is one JSON document")
    require_known_name(profile, state(), os.environ)
    name, limit = name_of(profile), lines
    if limit is None:
        limit = DEFAULT_LINES if since is None else MAX_LINES
    found = read_log(
        name, server=server, follow=follow, state=state(), stop=threading.Event(), lines=limit, since=since
    )
    if output.as_json:
        console.document({"name": name, "lines": list(found)})
        return
    for line in found:
        console.answer(line if server else format_line(line, verbose=output.verbose))
