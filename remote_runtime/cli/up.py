"""`up`."""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import click

from .. import render
from ..errors import RemoteRuntimeError, UsageError
from .common import BUG, common, profile_names, state, terminal, worst


@click.command()
@click.argument("profile", nargs=-1, required=True, shell_complete=profile_names)
@click.option("--port", type=click.IntRange(1, 65535), help="Local port; overrides the profile.")
@click.option("--port-forward", "extra", multiple=True, metavar="L:R", help="Extra forward LOCAL:REMOTE; repeatable.")
@click.option("--foreground", is_flag=True, help="Stay; Ctrl-C takes the runtime down.")
@click.option("--timeout", type=click.FloatRange(min=1), metavar="SECONDS", help="Deadline for the whole command.")
@common
def up(
    profile: tuple[str, ...],
    port: int | None,
    extra: tuple[str, ...],
    foreground: bool,
    timeout: float | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
) -> int:
    """Bring runtimes up; print the URL."""
    from .. import profiles
    from ..commands.together import together
    from ..commands.up import Options, OurBug
    from ..commands.up import up as bring_up

    if len(profile) > 1 and (port is not None or foreground):
        raise UsageError("usage", "--port and --foreground are for one profile at a time")
    options = Options(port, tuple(profiles.extra_forward(text) for text in extra), foreground, timeout)
    several = len(profile) > 1
    view = terminal(quiet, verbose, as_json, several=several)
    called_off = threading.Event()
    _hear_the_end()

    def show(runtime: Mapping[str, Any]) -> None:
        _show_up([runtime], several, quiet, as_json)

    jobs = {
        reference: functools.partial(
            bring_up,
            reference,
            options,
            state=state(),
            environ=dict(os.environ),
            view=view,
            called_off=called_off,
            on_ready=show,
        )
        for reference in profile
    }
    try:
        results = together(jobs, view, called_off)
    finally:
        view.pause()
    ready = [result for result in results.values() if isinstance(result, dict)]
    failed = {reference: result for reference, result in results.items() if isinstance(result, Exception)}
    for error in failed.values():
        if isinstance(error, OurBug):
            render.bug(str(error))
            return BUG
    if len(profile) == 1 and failed:
        raise next(iter(failed.values()))
    if not foreground:
        _show_up(ready, several, quiet, as_json, failed)
    return worst(failed)


def _show_up(
    ready: Sequence[Mapping[str, Any]],
    several: bool,
    quiet: bool,
    as_json: bool,
    failed: Mapping[str, Exception] | None = None,
) -> None:
    errors = {name: error for name, error in (failed or {}).items() if isinstance(error, RemoteRuntimeError)}
    if as_json:
        content: dict[str, Any] = {"runtimes": list(ready)}
        if errors:
            content["error"] = next(iter(errors.values())).as_dict()
            content["errors"] = {name: error.as_dict() for name, error in errors.items()}
        render.document(content)
        return
    for runtime in ready:
        if not quiet:
            render.ready(runtime)
        render.answer(f"{runtime['name']}\t{runtime['url']}" if several else runtime["url"])
    for name, error in errors.items():
        render.failure(error, name)


def _hear_the_end() -> None:
    """SIGTERM ends a command the way Ctrl-C does: what it started is undone."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
