"""`profiles new`."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from ..core.display_path import display_path
from ..core.errors import Interrupted
from ..core.sanitize import clean_line
from .common import OutputOptions, common
from .group import ThemedCommand, examples
from .output import console

MAX_PATH_CHARS = 4096


@click.command(
    cls=ThemedCommand,
    epilog=examples(
        "profiles new",
        "profiles new my-vm --project my-project --instance my-dlvm",
        "profiles new box --host gpu-box",
        "profiles new --kind new-vm    # a VM that `up` creates",
    ),
)
@click.argument("name", required=False)
@click.option("--kind", type=click.Choice(["gce", "new-vm", "ssh", "local"]), help="The kind of target.")
@click.option("--project", metavar="ID", help="The Google Cloud project.")
@click.option("--zone", help="The VM's zone.")
@click.option("--instance", metavar="NAME", help="The VM's name.")
@click.option("--host", help="An SSH host of ~/.ssh/config or an address.")
@click.option("--user", metavar="LOGIN", help="The login name on the machine.")
@click.option(
    "--on-down", type=click.Choice(["keep", "stop", "suspend", "delete"]), help="What `down` does with the VM."
)
@click.option("--idle", metavar="DURATION", help="Stop the VM after an idle time such as 2h.")
@click.option("--packages", metavar="NAMES", help="Packages to install such as `numpy pandas`.")
@click.option("--machine-type", metavar="TYPE", help="Create a VM of this machine type.")
@click.option("--region", help="The region to create the VM in.")
@click.option("--gpu", metavar="TYPE[:COUNT]", help="GPUs to attach to an N1 machine type.")
@click.option("--provisioning", type=click.Choice(["standard", "spot", "flex-start"]), help="How the VM gets capacity.")
@click.option("--disk-size", metavar="SIZE", help="The boot disk's size such as 100GB.")
@click.option("--image-family", metavar="FAMILY", help="The image family of the new VM.")
@click.option("--image-project", metavar="ID", help="The project of the image family.")
@click.option("--up/--no-up", "bring_up", default=None, help="Whether to run `up` then (default: ask).")
@click.option("--force", is_flag=True, help="Replace an existing profile.")
@common
@click.pass_context
def new(
    context: click.Context,
    /,
    bring_up: bool | None,
    force: bool,
    output: OutputOptions,
    **given: Any,
) -> int:
    """Create a profile.

    Prompts for the machine and lists what your account can see. Pass --instance, --host or `--kind local` to skip the
    prompts; they are also skipped with --json and without a terminal.
    """
    from ..commands import new_profile as command
    from ..commands import profile_interview
    from .output import menus
    from .up import up

    environ = dict(os.environ)
    options = command.ProfileOptions(**given)
    view = output.view()
    prompts = menus.prompts_for(view) if view.interactive and not options.is_complete() else None
    try:
        if prompts is None:
            draft = command.draft_from_options(options, environ)
        else:
            draft = profile_interview.interview(options, prompts, environ)
            force = force or prompts.confirm_replace(draft.name, taken=command.is_taken(draft.name, environ))
            command.check_name(draft.name, force=force, environ=environ)
            prompts.preview(draft.text())
            shown = display_path(command.profile_path(draft.name, environ))
            if not prompts.confirm(f"Save as {clean_line(shown, MAX_PATH_CHARS)}?", default=True):
                raise EOFError
        path = command.write(draft, force=force, environ=environ)
    except (KeyboardInterrupt, EOFError) as error:
        raise Interrupted("Cancelled: no profile was written") from error
    finally:
        view.pause()
    if prompts is not None and bring_up is None:
        bring_up = prompts.confirm_or_leave(f"Run `remote-runtime up {draft.name}` now?", default=True)
    if bring_up:
        return int(context.invoke(up, profile=(draft.name,)))
    if output.as_json:
        console.document({"profile": {"name": draft.name, "path": str(path)}})
        return 0
    if prompts is None or not sys.stdout.isatty():
        console.answer(str(path))
    if not output.quiet:
        console.say_lines([console.bright_commands(f"Start it with `remote-runtime up {draft.name}`")])
    return 0
