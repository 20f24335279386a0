"""`sync`."""

from __future__ import annotations

import json

import click

from ..core.errors import Interrupted, LocalError, RemoteRuntimeError
from .common import OutputOptions, common
from .completion import files
from .group import ThemedCommand, examples
from .output import console


@click.command(
    cls=ThemedCommand,
    epilog=examples(
        "sync ./project my-vm:project",
        "sync my-vm:results ./results --delete",
        "sync ./project my-vm:project --watch",
    ),
)
@click.argument("source", metavar="SRC", shell_complete=files)
@click.argument("target", metavar="DST", shell_complete=files)
@click.option("-w", "--watch", is_flag=True, help="Sync again after each change until Ctrl-C.")
@click.option("--delete", is_flag=True, help="Delete what is gone in the source.")
@click.option("--force", is_flag=True, help="Overwrite what was changed on the target.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before a large first sync.")
@common
def sync(source: str, target: str, watch: bool, delete: bool, force: bool, yes: bool, output: OutputOptions) -> int:
    """Make the folder DST like the folder SRC.

    One of them is NAME:PATH, on the machine of the profile NAME. Only what has changed is copied. What was changed in
    DST since the last sync is kept and listed unless you add --force. --delete deletes what an earlier sync put there;
    with --force also what is only there. Patterns in SRC/.remote-runtime-ignore leave files out.
    """
    from ..commands.context import run_parallel
    from ..commands.sync import SyncResult, parse_sync
    from ..commands.sync import sync as sync_once
    from ..commands.sync_watch import watch as sync_on_changes
    from .output.copying import CopyMeter
    from .output.syncing import show_synced

    request = parse_sync(source, target, delete=delete, force=force, yes=yes)
    context = output.context(transient=not watch)
    meter = CopyMeter(context.view, request.name)

    def show_next(result: SyncResult) -> None:
        """One of the syncs of --watch."""
        context.view.pause()
        if output.as_json:
            console.answer(json.dumps({"schema": 1, **result.as_document()}))
        else:
            show_synced(result, quiet=output.quiet)

    def work() -> SyncResult | None:
        if not watch:
            return sync_once(request, context, meter)
        sync_on_changes(request, context, meter, show_next)
        return None

    result = run_parallel({request.name: work}, context).get(request.name)
    if watch and isinstance(result, Interrupted):
        return 0  # Ctrl-C ends it
    if isinstance(result, Exception):
        raise result
    if result is None:
        return 0  # only a watch has no result
    errors: dict[str, RemoteRuntimeError] = {}
    if result.failed:
        count = len(result.failed)
        what = "1 path was not synced" if count == 1 else f"{count} paths were not synced"
        errors[result.name] = LocalError("sync-incomplete", what)
    return output.finish(result.as_document(), errors, lambda: show_synced(result, quiet=output.quiet))
