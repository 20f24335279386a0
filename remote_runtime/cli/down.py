"""`down`."""

from __future__ import annotations

import functools
from typing import Literal

import click

from ..core.errors import UsageError
from ..core.errors.catalogue import fill_in_profile
from .common import OutputOptions, common, examples, name_of, run_jobs, state
from .completion import runtime_names
from .output import console


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
    output: OutputOptions,
) -> int:
    """Take runtimes down: the tunnel, and Jupyter on the machine.

    The instance is left as on_down in the profile says, or as an option here says. With busy kernels you are asked;
    where nobody can be asked, --force is needed. What is down already stays down.
    """
    from ..commands.down import DownOptions
    from ..commands.down import down as take_down
    from ..commands.orphans import stop_orphans
    from ..commands.profile_reference import profile_file, profile_reference
    from ..state import store

    if bool(profile) == everything:
        raise UsageError(
            "usage", "Name the runtimes to take down, or use --all", "", "`remote-runtime status` lists them"
        )
    if stop_instance and suspend_instance:
        raise UsageError("usage", "--stop-instance and --suspend-instance exclude each other")
    if keep_server and (stop_instance or suspend_instance or purge):
        raise UsageError("usage", "--keep-server contradicts stopping the instance and --purge")
    state_dir = state()
    names = store.list_names(state_dir) if everything else [name_of(reference) for reference in profile]
    context = output.context(show_names=len(names) > 1)
    instance: Literal["stop", "suspend"] | None = "stop" if stop_instance else "suspend" if suspend_instance else None
    options = DownOptions(keep_server, instance, purge, force)
    jobs = {name: functools.partial(take_down, name, options, context, named=not everything) for name in names}
    stopped, errors = run_jobs(jobs, context)
    references = dict(zip(names, profile, strict=False))
    for result in stopped if orphans else ():
        reference = references.get(result["name"]) or profile_file(result["name"], state_dir)
        result["orphans"] = stop_orphans(reference, context, force=force)
    for result in stopped:
        if notes := result.get("notes"):
            reference = profile_reference(
                references.get(result["name"], result["name"]), context.state, context.environ
            )
            result["notes"] = [fill_in_profile(note, reference) for note in notes]

    def show() -> None:
        if not names and not output.quiet:
            console.say("No runtime is up.")
        for result in stopped if not output.quiet else ():
            console.stopped(result)

    return output.finish({"stopped": stopped}, errors, show)
