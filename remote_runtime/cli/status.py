"""`status` and `url`."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..core.errors import RemoteRuntimeError, UsageError
from .common import OutputOptions, common, copy_url, name_of, run_jobs, state
from .completion import runtime_names
from .default_name import runtime_argument
from .group import TYPED_ALIAS, ThemedCommand, examples
from .output import console

if TYPE_CHECKING:
    from .output.watch import Actions


@click.command(
    cls=ThemedCommand,
    epilog=examples(
        "status",
        "status my-vm --watch",
        "status my-vm --json",
        "status --all-machines    # also orphaned servers and VMs",
    ),
)
@click.argument("profile", nargs=-1, shell_complete=runtime_names)
@click.option("--all-machines", is_flag=True, help="Also list orphaned servers and VMs.")
@click.option("--watch", is_flag=True, help="Refresh live with graphs; q quits.")
@common
def status(profile: tuple[str, ...], all_machines: bool, watch: bool, output: OutputOptions) -> int:
    """Show running runtimes and their health.

    With PROFILE, the exit code is 0 only if every runtime named is ready. --all-machines connects to the machine of
    each profile and lists the Jupyter servers there, and the VMs, disks and snapshots that `up` created.
    """
    from ..commands.status import status as look
    from .cloud_resources import list_resources
    from .output.cloud_table import resource_table
    from .output.cluster_table import cluster_tables
    from .output.status_table import machine_table, status_table

    names, state_dir = [name_of(reference) for reference in profile], state()
    if watch:
        return _watch(lambda: look(names, state_dir, os.environ), output)
    runtimes = look(names, state_dir, os.environ)
    if all_machines:
        machines = _check_machines(list(profile), output)
        found, errors = list_resources(profile, output)
        resources = [each.as_document() for each in found]
        not_listed = [{"project": project, "why": str(error)} for project, error in errors.items()]
    if output.as_json:
        more = {"machines": machines, "resources": resources, "not_listed": not_listed} if all_machines else {}
        console.document({"runtimes": runtimes, **more})
    else:
        console.answer(status_table(runtimes))
        if workers := cluster_tables(runtimes):
            console.answer("\n" + workers)
        if all_machines:
            console.answer("\n" + machine_table(machines))
            if resources or errors:
                console.answer("\n" + resource_table(resources, errors))
        if click.get_current_context().meta.get(TYPED_ALIAS) in ("list", "ls") and not output.quiet:
            console.say("For profiles, run: remote-runtime profiles list")
    return 0 if not profile or all(runtime["state"] == "ready" for runtime in runtimes) else 1


def _check_machines(names: list[str], output: OutputOptions) -> list[dict[str, Any]]:
    from ..commands import orphans as machines

    context = output.context(show_names=True)
    files, left_out = ({name: name for name in names}, []) if names else machines.profiles_with_machines(os.environ)
    jobs = {name: functools.partial(machines.list_servers, file, context) for name, file in files.items()}
    checked, _ = run_jobs(jobs, context)
    return [*checked, *map(machines.not_checked, left_out)]


def _watch(read_status: Callable[[], list[dict[str, Any]]], output: OutputOptions) -> int:
    if output.as_json or not sys.stdout.isatty():
        raise UsageError("usage", "--watch requires a terminal", "", "`remote-runtime status` prints the state once")
    from .output.watch import watch

    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C ends the display
        watch(read_status, _actions(output))
    return 0


def _actions(output: OutputOptions) -> Actions:
    from ..commands.open import open_colab
    from ..state import log_file
    from . import main
    from .output.watch import Actions

    context = output.context()

    def open_page(name: str) -> str:
        try:
            open_colab(name, context)
        except RemoteRuntimeError as error:
            return f"{error} · {error.hint}" if error.hint else str(error)
        return f"Opened Colab: Connect → Connect to a local runtime → paste the URL of `remote-runtime url {name}`"

    return Actions(
        open_page=open_page,
        read_log=lambda name, lines: log_file.tail(context.state.file_path(name, "log"), lines),
        stop=lambda name, stop_busy: main(["down", name, *["--stop-busy"] * stop_busy]) == 0,
    )


@click.command(cls=ThemedCommand, epilog=examples("url", "url my-vm --copy"))
@runtime_argument()
@click.option("--copy", is_flag=True, help="Copy the URL to the clipboard.")
@common
def url(profile: str, copy: bool, output: OutputOptions) -> int:
    """Print the URL of a running runtime.

    You can leave PROFILE out while one runtime is running. The URL contains the token: anyone who has it can run code
    on the machine. While a runtime is reconnecting the URL stays the same.
    """
    from ..commands.status import with_url

    runtime = with_url(name_of(profile), state(), os.environ)
    if runtime["state"] != "ready" and not output.as_json:
        console.warn(f"{runtime['name']} is {runtime['state']}; this URL works again when it is ready")
    errors = copy_url(runtime["url"], output) if copy else {}
    document = {key: runtime[key] for key in ("name", "url", "state")}
    return output.finish(document, errors, lambda: console.answer(runtime["url"]))
