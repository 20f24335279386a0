"""`kernels`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .common import OutputOptions, common
from .completion import profile_names
from .default_name import runtime_argument
from .group import ThemedCommand, examples
from .output import console

if TYPE_CHECKING:
    from ..commands.kernels import ListedKernels

HEAD = ("NAME", "LANGUAGE", "ENVIRONMENT", "INTERPRETER")


@click.command(
    cls=ThemedCommand,
    epilog=examples(
        "kernels my-vm",
        "kernels my-vm --json",
    ),
)
@runtime_argument(profile_names)
@common
def kernels(profile: str, output: OutputOptions) -> None:
    """List kernels and environments.

    You can leave PROFILE out while one runtime is running. The machine's environments are searched again, so that new
    ones become kernels of the running server. An environment without ipykernel is listed with the command that
    installs it. Without a running runtime it connects to the machine and lists what `up` would offer.
    """
    from ..commands.context import run_parallel
    from ..commands.kernels import list_kernels
    from ..commands.profile_reference import load_profile

    context = output.context(transient=True)
    listed = run_parallel({profile: lambda: list_kernels(load_profile(profile, context), context)}, context)[profile]
    if isinstance(listed, Exception):
        raise listed
    if output.as_json:
        console.document(listed.document())
        return
    _show(listed, quiet=output.quiet)


def _show(listed: ListedKernels, *, quiet: bool) -> None:
    found = listed.found
    rows = [
        (each.name, each.language, each.environment.kind if each.environment else "", each.interpreter)
        for each in found.kernels
    ]
    if rows:
        console.answer(console.table(HEAD, rows, max_columns=console.width()))
    if quiet:
        return
    if not rows:
        console.say(f"{listed.name} has no environments that can be kernels.")
    elif not listed.is_running:
        console.say(f"{listed.name} is not running; `remote-runtime up {listed.name}` offers these.")
    if found.unusable:
        console.say("")
        console.say("Can't be kernels:")
    for each in found.unusable:
        console.say(f"  {each.environment.path}: {each.why}")
        if each.fix:
            console.say(f"    fix, on the machine: `{each.fix}`")
    for note in found.notes:
        console.warn(note)
