"""`up`."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ..core.errors import LocalError, RemoteRuntimeError, UsageError
from .common import OutputOptions, common, copy_url, examples, handle_signals, run_jobs
from .completion import profile_names
from .output.ready import show_ready


class Seconds(click.FloatRange):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        converted = super().convert(value, param, ctx)
        if not math.isfinite(converted):
            self.fail(f"{value} is no number of seconds", param, ctx)
        return converted


@click.command(
    epilog=examples(
        "up my-vm",
        "up my-vm --port-forward 6006:6006    # TensorBoard too",
        "up vm-a vm-b                         # both at once",
    )
)
@click.argument("profile", nargs=-1, required=True, shell_complete=profile_names)
@click.option("--port", type=click.IntRange(1, 65535), metavar="N", help="Local port; overrides the profile.")
@click.option(
    "--port-forward", "extra", multiple=True, metavar="L:R", help="Extra forward L:REMOTE or L:/SOCKET; repeatable."
)
@click.option("--open", "show_page", is_flag=True, help="Show Colab's page in the browser then.")
@click.option("--copy", is_flag=True, help="Put the URL on the clipboard.")
@click.option("--foreground", is_flag=True, help="Stay; Ctrl-C takes the runtime down.")
@click.option("--timeout", type=Seconds(min=1), metavar="SECONDS", help="Deadline for the whole command.")
@common
def up(
    profile: tuple[str, ...],
    port: int | None,
    extra: tuple[str, ...],
    show_page: bool,
    copy: bool,
    foreground: bool,
    timeout: float | None,
    output: OutputOptions,
) -> int:
    """Bring runtimes up and print the URL for Colab.

    PROFILE is a name that `profiles list` shows, or the path of a YAML file. The machine is found, started if the
    profile says so, and entered; Jupyter is started there, and a local port leads to it. A background process keeps
    the tunnel. For what is up already the URL is the same. Ctrl-C undoes what was begun.
    """
    from .. import profiles
    from ..commands import desktop
    from ..commands.up import Options
    from ..commands.up import up as bring_up

    if len(profile) > 1 and (port is not None or foreground or copy):
        raise UsageError("usage", "--port, --foreground and --copy are for one profile at a time")
    if show_page:
        desktop.check_browser(os.environ)
    if copy:
        desktop.clipboard_command(os.environ)
    options = Options(port, tuple(profiles.parse_extra_forward(text) for text in extra), foreground, timeout)
    context = output.context(show_names=len(profile) > 1)
    handle_signals()

    def finish(ready: Sequence[Mapping[str, Any]], errors: Mapping[str, RemoteRuntimeError]) -> int:
        def show() -> None:
            if ready:
                show_ready(ready, quiet=output.quiet, named=len(profile) > 1, foreground=foreground)

        errors = {**errors, **_copy_and_open(ready[0]["url"], copy, show_page, output)} if ready else errors
        return output.finish({"runtimes": list(ready)}, errors, show)

    def on_ready(runtime: Mapping[str, Any]) -> None:
        finish([runtime], {})

    job = functools.partial(bring_up, options=options, context=context, on_ready=on_ready)
    jobs = {reference: functools.partial(job, reference) for reference in profile}
    ready, errors = run_jobs(jobs, context)
    return 0 if foreground else finish(ready, errors)


def _copy_and_open(url: str, copy: bool, show_page: bool, output: OutputOptions) -> dict[str, RemoteRuntimeError]:
    """The errors by option."""
    errors = copy_url(url, output) if copy else {}
    if not show_page:
        return errors
    from ..commands import desktop
    from ..commands.open import COLAB_URL  # imports the health checks

    try:
        desktop.open_page(COLAB_URL, os.environ)
    except LocalError as error:
        errors["open"] = error
    return errors
