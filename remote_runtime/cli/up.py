"""`up`."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from ..core.errors import LocalError, RemoteRuntimeError, UsageError
from .common import OutputOptions, common, copy_url, examples, handle_signals, run_jobs
from .completion import profile_names
from .output import console


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
    from ..commands.up import Options
    from ..commands.up import up as bring_up

    if len(profile) > 1 and (port is not None or foreground or copy):
        raise UsageError("usage", "--port, --foreground and --copy are for one profile at a time")
    after_ready = _after_ready(show_page, copy, output)
    options = Options(port, tuple(profiles.parse_extra_forward(text) for text in extra), foreground, timeout)
    show_names = len(profile) > 1
    context = output.context(show_names=show_names)
    handle_signals()

    def show(runtime: Mapping[str, Any]) -> None:
        _show_up([runtime], show_names, output, after_ready([runtime]))

    jobs = {reference: functools.partial(bring_up, reference, options, context, on_ready=show) for reference in profile}
    ready, errors = run_jobs(jobs, context)
    if foreground:
        return 0
    return _show_up(ready, show_names, output, errors | after_ready(ready))


def _after_ready(
    show_page: bool, copy: bool, output: OutputOptions
) -> Callable[[Sequence[Mapping[str, Any]]], dict[str, RemoteRuntimeError]]:
    """A function that opens the page and copies the URL of ready runtimes, and returns its errors by option. Raises
    ``LocalError`` at once if this computer has no browser or clipboard."""
    from ..commands import desktop

    if show_page:
        desktop.check_browser(os.environ)
    if copy:
        desktop.clipboard_command(os.environ)

    def run(ready: Sequence[Mapping[str, Any]]) -> dict[str, RemoteRuntimeError]:
        failed: dict[str, RemoteRuntimeError] = {}
        for runtime in ready[:1]:
            try:
                if copy:
                    failed |= copy_url(runtime["url"], output)
                if show_page:
                    from ..commands.open import COLAB_URL

                    desktop.open_page(COLAB_URL, os.environ)
            except LocalError as error:
                failed["open"] = error
        return failed

    return run


def _show_up(
    ready: Sequence[Mapping[str, Any]],
    show_names: bool,
    output: OutputOptions,
    errors: Mapping[str, RemoteRuntimeError],
) -> int:
    def show() -> None:
        if ready and not output.quiet:
            console.ready(ready)
        for runtime in ready:
            console.answer(f"{runtime['name']}\t{runtime['url']}" if show_names else runtime["url"])

    return output.finish({"runtimes": list(ready)}, errors, show)
