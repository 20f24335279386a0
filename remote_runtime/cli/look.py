"""`status`, `url` and `logs`."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import click

from .. import render
from ..errors import UsageError
from .common import common, copied, name_of, state
from .complete import live_names, logged_names, runtime_names
from .pages import examples


@click.command(
    epilog=examples(
        "status",
        "status my-vm --watch",
        "status my-vm --json",
    )
)
@click.argument("profile", nargs=-1, shell_complete=runtime_names)
@click.option("--watch", is_flag=True, help="Go on, with graphs of the last minutes; q quits.")
@common
def status(profile: tuple[str, ...], watch: bool, quiet: bool, verbose: bool, as_json: bool) -> int:
    """What is up, whether it is healthy, and since when.

    With names, the exit code is 0 only if all of them are ready.
    """
    from ..commands.status import status as look
    from ..render.statuses import statuses

    names, where = [name_of(reference) for reference in profile], state()
    if watch:
        return _watch(lambda: look(names, where, os.environ), as_json)
    found = look(names, where, os.environ)
    if as_json:
        render.document({"runtimes": found})
    else:
        render.answer(statuses(found))
    return 0 if not profile or all(runtime["state"] == "ready" for runtime in found) else 1


def _watch(look: Callable[[], list[dict[str, Any]]], as_json: bool) -> int:
    if as_json or not sys.stdout.isatty():
        raise UsageError("usage", "--watch draws on a terminal", "", "without it, `remote-runtime status` looks once")
    from ..render.watch import watch

    with contextlib.suppress(KeyboardInterrupt):  # leaving is not a failure
        watch(look)
    return 0


@click.command()
@click.argument("profile", shell_complete=live_names)
@click.option("--copy", is_flag=True, help="Put it on the clipboard too.")
@common
def url(profile: str, copy: bool, quiet: bool, verbose: bool, as_json: bool) -> None:
    """Print the URL of a runtime that is up, again.

    It carries the token: who has it can run anything on the machine.
    """
    from ..commands.status import url as look

    found = look(name_of(profile), state(), os.environ)
    if copy:
        copied(found, os.environ, quiet=quiet or as_json)
    render.document({"name": name_of(profile), "url": found}) if as_json else render.answer(found)


@click.command(
    epilog=examples(
        "logs my-vm",
        "logs my-vm --server -f    # Jupyter's, as it is written",
    )
)
@click.argument("profile", shell_complete=logged_names)
@click.option("--server", is_flag=True, help="Jupyter's log on the machine instead.")
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@common
def logs(profile: str, server: bool, follow: bool, quiet: bool, verbose: bool, as_json: bool) -> None:
    """The log of the background process, or Jupyter's on the machine."""
    from ..commands.logs import read

    lines = read(name_of(profile), server=server, follow=follow, state=state(), stop=threading.Event())
    if as_json:
        if follow:
            raise UsageError("usage", "--json gives one document: it cannot follow a log")
        render.document({"name": name_of(profile), "lines": list(lines)})
        return
    for line in lines:
        render.answer(line)
