"""`status`, `url` and `logs`."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..core.errors import RemoteRuntimeError, UsageError
from .common import OutputOptions, common, copy_url, examples, name_of, run_jobs, state
from .completion import live_names, logged_names, runtime_names
from .output import console

if TYPE_CHECKING:
    from .output.watch import Actions


@click.command(
    epilog=examples(
        "status",
        "status my-vm --watch",
        "status my-vm --json",
        "status --all-machines         # servers of no runtime here",
    )
)
@click.argument("profile", nargs=-1, shell_complete=runtime_names)
@click.option(
    "--all-machines", is_flag=True, help="Also enter the profiles' machines: which servers of ours run there."
)
@click.option("--watch", is_flag=True, help="Go on, with graphs of the last minutes; q quits.")
@common
def status(profile: tuple[str, ...], all_machines: bool, watch: bool, output: OutputOptions) -> int:
    """What is up, whether it is healthy, and since when.

    With names, the exit code is 0 only if all of them are ready.
    """
    from ..commands.status import status as look
    from .output.status_table import machine_table, status_table

    names, state_dir = [name_of(reference) for reference in profile], state()
    if watch:
        return _watch(lambda: look(names, state_dir, os.environ), output)
    runtimes = look(names, state_dir, os.environ)
    machines = _check_machines(list(profile), output) if all_machines else None
    if output.as_json:
        console.document({"runtimes": runtimes, **({} if machines is None else {"machines": machines})})
    else:
        console.answer(status_table(runtimes))
        if machines is not None:
            console.answer("\n" + machine_table(machines))
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
        raise UsageError("usage", "--watch draws on a terminal", "", "Without it, `remote-runtime status` looks once")
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
        stop=lambda name: main(["down", name]) == 0,
    )


@click.command()
@click.argument("profile", shell_complete=live_names)
@click.option("--copy", is_flag=True, help="Put it on the clipboard too.")
@common
def url(profile: str, copy: bool, output: OutputOptions) -> int:
    """Print the URL of a runtime that is up, again.

    It carries the token: who has it can run anything on the machine.
    """
    from ..commands.status import url as look

    runtime_url = look(name_of(profile), state(), os.environ)
    errors = copy_url(runtime_url, output) if copy else {}
    document = {"name": name_of(profile), "url": runtime_url}
    return output.finish(document, errors, lambda: console.answer(runtime_url))


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
def logs(profile: str, server: bool, follow: bool, output: OutputOptions) -> None:
    """The log of the background process, or Jupyter's on the machine."""
    from ..commands.logs import read_log
    from ..commands.status import require_known_name

    require_known_name(profile, state(), os.environ)
    lines = read_log(name_of(profile), server=server, follow=follow, state=state(), stop=threading.Event())
    if output.as_json:
        if follow:
            raise UsageError("usage", "--json gives one document: it cannot follow a log")
        console.document({"name": name_of(profile), "lines": list(lines)})
        return
    for line in lines:
        console.answer(line)
