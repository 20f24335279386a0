"""`down`."""

from __future__ import annotations

import functools
from typing import Any

import click

from ..core.errors import UsageError
from ..core.errors.catalogue import fill_in_profile
from .common import OutputOptions, common, name_of, run_jobs, state
from .completion import runtime_names
from .default_name import runtimes_to_stop
from .group import ThemedCommand, examples
from .output import console


@click.command(
    cls=ThemedCommand,
    epilog=examples(
        "down my-vm                    # the VM keeps running",
        "down my-vm --stop-instance    # stop the VM and its costs",
        "down --all",
    ),
)
@click.argument("profile", nargs=-1, shell_complete=runtime_names)
@click.option("--all", "everything", is_flag=True, help="Stop all runtimes.")
@click.option("--keep-server", is_flag=True, help="Keep Jupyter and its kernels running.")
@click.option("--stop-instance", is_flag=True, help="Also stop the Compute Engine VM.")
@click.option("--suspend-instance", is_flag=True, help="Also suspend the Compute Engine VM.")
@click.option("--delete-instance", is_flag=True, help="Also delete the VM that `up` created.")
@click.option("--yes", is_flag=True, help="Delete without asking.")
@click.option("--force", is_flag=True, help="Stop despite busy kernels or failures.")
@click.option("--stop-busy", is_flag=True, hidden=True, help="Stop busy kernels without asking.")  # the caller has
@click.option("--purge", is_flag=True, help="Also delete remote-runtime's files there.")
@click.option("--orphans", is_flag=True, help="Also stop orphaned Jupyter servers.")
@click.option("--orphan-resources", is_flag=True, help="Delete VMs and disks that `up` left.")
@common
def down(
    profile: tuple[str, ...],
    everything: bool,
    keep_server: bool,
    stop_instance: bool,
    suspend_instance: bool,
    delete_instance: bool,
    yes: bool,
    force: bool,
    stop_busy: bool,
    purge: bool,
    orphans: bool,
    orphan_resources: bool,
    output: OutputOptions,
) -> int:
    """Stop runtimes.

    Stops Jupyter and the port forward. Your files stay on the machine. The VM keeps running unless `on_down` in the
    profile or an option says otherwise.

    On a terminal you can leave PROFILE out while there is one runtime; `down` asks before it stops it. It also asks
    before it stops busy kernels; without a terminal that requires --force.

    --delete-instance deletes a VM that `up` created, with its boot disk, also after an earlier `down`. It asks before;
    without a terminal that requires --yes.

    --orphan-resources deletes VMs, disks and snapshots that `up` created and that belong to no runtime here. It lists
    them with their age and asks; without a terminal that requires --yes.
    """
    from ..commands.down import Action, DownOptions
    from ..commands.down import down as take_down
    from ..commands.orphans import stop_orphans
    from ..commands.profile_reference import profile_file, profile_reference
    from ..state import store

    asked: dict[Action, bool] = {"stop": stop_instance, "suspend": suspend_instance, "delete": delete_instance}
    if profile and everything:
        raise UsageError("usage", "--all excludes names of runtimes")
    chosen = [action for action, is_chosen in asked.items() if is_chosen]
    if len(chosen) > 1:
        raise UsageError("usage", f"--{chosen[0]}-instance excludes --{chosen[1]}-instance")
    if keep_server and (chosen or purge):
        raise UsageError("usage", "--keep-server excludes --purge and options that stop the VM")
    state_dir = state()
    profile = profile if profile or everything or orphan_resources else tuple(runtimes_to_stop(output))
    names = store.list_names(state_dir) if everything else [name_of(reference) for reference in profile]
    context = output.context(show_names=len(names) > 1)
    options = DownOptions(keep_server, chosen[0] if chosen else None, purge, force, stop_busy, yes)
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
        if not names and not orphan_resources and not output.quiet:
            console.say("No runtimes running.")
        for result in stopped if not output.quiet else ():
            console.stopped(result)

    document: dict[str, Any] = {"stopped": stopped}
    if orphan_resources:
        from .cloud_resources import delete_orphan_resources

        document["orphan_resources"], failed = delete_orphan_resources(output, yes=yes)
        errors = {**errors, **failed}
    return output.finish(document, errors, show)
