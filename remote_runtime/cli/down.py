"""`down`."""

from __future__ import annotations

import functools
import os
import threading

import click

from ..core.errors import UsageError
from . import output
from .common import carry_out, common, name_of, spoken, state, terminal, told, worst
from .completion import runtime_names
from .pages import examples


@click.command(
    epilog=examples(
        "down my-vm                    # the instance keeps running",
        "down my-vm --stop-instance    # nothing costs money any more",
        "down --all",
    )
)
@click.argument("profile", nargs=-1, shell_complete=runtime_names)
@click.option("--all", "everything", is_flag=True, help="All runtimes.")
@click.option("--keep-server", is_flag=True, help="Leave Jupyter and its kernels running, and the machine with them.")
@click.option("--stop-instance", is_flag=True, help="Stop the Compute Engine instance too.")
@click.option("--suspend-instance", is_flag=True, help="Suspend the Compute Engine instance too.")
@click.option("--force", is_flag=True, help="Even if kernels are busy, or something cannot be taken away.")
@click.option("--purge", is_flag=True, help="Also remove our folder on the machine.")
@click.option("--orphans", is_flag=True, help="Also end servers of ours there that no runtime here knows.")
@common
def down(
    profile: tuple[str, ...],
    everything: bool,
    keep_server: bool,
    stop_instance: bool,
    suspend_instance: bool,
    force: bool,
    purge: bool,
    orphans: bool,
    quiet: bool,
    verbose: bool,
    as_json: bool,
) -> int:
    """Take runtimes down: the tunnel, and Jupyter on the machine.

    The instance is left as on_down in the profile says, or as an option here says. With busy kernels you are asked;
    where nobody can be asked, --force is needed. What is down already stays down.
    """
    from ..commands.down import down as take_down
    from ..commands.orphans import end_orphans
    from ..commands.profile_reference import file_of
    from ..state import store

    if bool(profile) == everything:
        raise UsageError(
            "usage", "Name the runtimes to take down, or use --all", "", "`remote-runtime status` lists them"
        )
    if stop_instance and suspend_instance:
        raise UsageError("usage", "--stop-instance and --suspend-instance exclude each other")
    if keep_server and (stop_instance or suspend_instance or purge):
        raise UsageError("usage", "--keep-server contradicts stopping the instance and --purge")
    where = state()
    names = store.names(where) if everything else [name_of(reference) for reference in profile]
    view = terminal(quiet, verbose, as_json, several=len(names) > 1)
    called_off = threading.Event()
    jobs = {
        name: functools.partial(
            take_down,
            name,
            keep_server=keep_server,
            instance="stop" if stop_instance else "suspend" if suspend_instance else None,
            purge=purge,
            force=force,
            named=not everything,
            state=where,
            environ=dict(os.environ),
            view=view,
            called_off=called_off,
        )
        for name in names
    }
    stopped, errors = carry_out(jobs, view, called_off)
    given = dict(zip(names, profile, strict=False))
    for result in stopped if orphans else ():
        result["orphans"] = end_orphans(
            given.get(result["name"]) or file_of(result["name"], where),
            force=force,
            state=where,
            environ=dict(os.environ),
            view=view,
            called_off=called_off,
        )
    for result in stopped:
        if notes := result.get("notes"):
            result["notes"] = [spoken(note, given.get(result["name"], result["name"])) for note in notes]
    if as_json:
        output.document({"stopped": stopped, **told(errors, as_json=True)})
        return worst(errors)
    if not names and not quiet:
        output.say("No runtime is up.")
    if not quiet:
        for result in stopped:
            output.stopped(result)
    told(errors, as_json=False)
    return worst(errors)
