"""`up`."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ..core.errors import LocalError, RemoteRuntimeError, UsageError
from .common import OutputOptions, common, copy_url, handle_signals, run_jobs
from .completion import profile_names
from .default_name import profile_to_start
from .group import ThemedCommand, examples
from .output.ready import show_ready


class Seconds(click.FloatRange):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        converted = super().convert(value, param, ctx)
        if not math.isfinite(converted):
            self.fail(f"expected a number of seconds, got {value}", param, ctx)
        return converted


@click.command(
    cls=ThemedCommand,
    epilog=examples(
        "up my-vm",
        "up my-vm --port-forward 6006    # TensorBoard too",
        "up vm-a vm-b                    # both at once",
    ),
)
@click.argument("profile", nargs=-1, shell_complete=profile_names)
@click.option("--port", type=click.IntRange(1, 65535), metavar="N", help="Local port.")
@click.option("--port-forward", "extra", multiple=True, metavar="PORT|L:R", help="Forward another port (repeatable).")
@click.option("--open", "show_page", is_flag=True, help="Open Colab in a browser when ready.")
@click.option("--copy", is_flag=True, help="Copy the URL to the clipboard.")
@click.option("--foreground", is_flag=True, help="Run in the foreground; Ctrl-C shuts down.")
@click.option("--move", "move", is_flag=True, help="Move a VM that has no capacity.")
@click.option("--delete-old", is_flag=True, help="With --move: delete the old VM when ready.")
@click.option("--workers", type=click.IntRange(1, 64), metavar="N", help="Wait for N workers of the cluster.")
@click.option("--yes", is_flag=True, help="Create or move the VM without asking.")
@click.option("--timeout", type=Seconds(min=1), metavar="SECONDS", help="Deadline for the whole command.")
@common
def up(
    profile: tuple[str, ...],
    port: int | None,
    extra: tuple[str, ...],
    show_page: bool,
    copy: bool,
    foreground: bool,
    move: bool,
    delete_old: bool,
    workers: int | None,
    yes: bool,
    timeout: float | None,
    output: OutputOptions,
) -> int:
    """Start runtimes and print their URLs.

    PROFILE is a name that `profiles list` shows, or the path of a YAML file. You can leave it out if you have one
    profile.

    `up` starts the machine if needed, connects over SSH, starts Jupyter and forwards a local port to it. A background
    process keeps the connection. A runtime that is running keeps its URL. Ctrl-C undoes what was started.

    With `target.create` in the profile, `up` creates the VM if it does not exist. It asks before; without a terminal
    that requires --yes.

    --move moves a stopped VM to another zone if its zone has no capacity: a snapshot of its disks, and the same VM
    there. It asks before. The old VM stays, stopped, unless --delete-old is given.

    With `cluster` in the profile, workers join after the URL is printed. --workers waits for some of them before.

    --port-forward takes PORT, LOCAL:REMOTE, LOCAL:HOST:REMOTE or LOCAL:/SOCKET.
    """
    from .. import profiles
    from ..commands.up import Options
    from ..commands.up import up as bring_up
    from ..core.move import UpConsent

    if delete_old and not move:
        raise UsageError("usage", "--delete-old requires --move")
    consent = UpConsent(yes, move, delete_old)
    profile = profile or (profile_to_start(output),)
    if len(profile) > 1 and (port is not None or foreground or copy):
        raise UsageError("usage", "--port, --foreground and --copy are for one profile at a time")
    options = Options(
        port, tuple(profiles.parse_extra_forward(text) for text in extra), foreground, timeout, consent, workers
    )
    context = output.context(show_names=len(profile) > 1)
    handle_signals()

    def finish(ready: Sequence[Mapping[str, Any]], errors: Mapping[str, RemoteRuntimeError]) -> int:
        def show() -> None:
            if ready:
                show_ready(ready, quiet=output.quiet, named=len(profile) > 1, foreground=foreground)

        warnings = _copy_and_open(ready[0]["url"], copy, show_page, output) if ready else []
        return output.finish({"runtimes": list(ready)}, errors, show, warnings)

    def on_ready(runtime: Mapping[str, Any]) -> None:
        finish([runtime], {})

    job = functools.partial(bring_up, options=options, context=context, on_ready=on_ready)
    jobs = {reference: functools.partial(job, reference) for reference in profile}
    ready, errors = run_jobs(jobs, context)
    return 0 if foreground else finish(ready, errors)


def _copy_and_open(url: str, copy: bool, show_page: bool, output: OutputOptions) -> list[RemoteRuntimeError]:
    """What failed: the runtime works without it."""
    warnings = list(copy_url(url, output).values()) if copy else []
    if not show_page:
        return warnings
    from ..commands import desktop
    from ..commands.open import COLAB_URL  # imports the health checks

    try:
        desktop.open_page(COLAB_URL, os.environ)
    except LocalError as error:
        error.hint = f"Open {COLAB_URL} in a browser on the computer you sit at"
        warnings.append(error)
    return warnings
