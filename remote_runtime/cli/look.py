"""`status`, `url` and `logs`."""

from __future__ import annotations

import os
import threading

import click

from .. import render
from ..errors import UsageError
from .common import common, name_of, runtime_names, state


@click.command()
@click.argument("profile", nargs=-1, shell_complete=runtime_names)
@common
def status(profile: tuple[str, ...], quiet: bool, verbose: bool, as_json: bool) -> int:
    """What is up, and whether it is healthy. With names: 0 only if all of them are ready."""
    from ..commands.status import status as look

    found = look([name_of(reference) for reference in profile], state(), os.environ)
    if as_json:
        render.document({"runtimes": found})
    else:
        render.answer(render.statuses(found))
    return 0 if not profile or all(runtime["state"] == "ready" for runtime in found) else 1


@click.command()
@click.argument("profile", shell_complete=runtime_names)
@common
def url(profile: str, quiet: bool, verbose: bool, as_json: bool) -> None:
    """The URL of a runtime that is up, again."""
    from ..commands.status import url as look

    found = look(name_of(profile), state(), os.environ)
    render.document({"name": name_of(profile), "url": found}) if as_json else render.answer(found)


@click.command()
@click.argument("profile", shell_complete=runtime_names)
@click.option("--server", is_flag=True, help="Jupyter's log on the machine instead.")
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@common
def logs(profile: str, server: bool, follow: bool, quiet: bool, verbose: bool, as_json: bool) -> None:
    """What the background process, or Jupyter on the machine, has logged."""
    from ..commands.logs import read

    lines = read(name_of(profile), server=server, follow=follow, state=state(), stop=threading.Event())
    if as_json:
        if follow:
            raise UsageError("usage", "--json gives one document: it cannot follow a log")
        render.document({"name": name_of(profile), "lines": list(lines)})
        return
    for line in lines:
        render.answer(line)
