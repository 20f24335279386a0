"""`profiles new`."""

from __future__ import annotations

import os
from typing import Any

import click

from ..core.errors import Interrupted
from . import output
from .common import common, terminal
from .pages import examples


@click.command(
    epilog=examples(
        "profiles new",
        "profiles new my-vm --project my-project --instance my-dlvm",
        "profiles new box --host gpu-box",
    )
)
@click.argument("name", required=False)
@click.option("--kind", type=click.Choice(["gce", "ssh", "local"]), help="What the machine is.")
@click.option("--project", metavar="ID", help="The Google Cloud project.")
@click.option("--zone", help="The instance's zone.")
@click.option("--instance", metavar="NAME", help="The Compute Engine instance.")
@click.option("--host", help="The SSH host: a name, an address, or a Host of ~/.ssh/config.")
@click.option("--user", metavar="LOGIN", help="The login name on the machine.")
@click.option("--on-down", type=click.Choice(["keep", "stop", "suspend"]), help="What `down` does with the instance.")
@click.option("--idle", metavar="DURATION", help="Stop the instance when nobody has used it so long.")
@click.option("--up/--no-up", "bring_up", default=None, help="Bring it up then; otherwise you are asked.")
@click.option("--force", is_flag=True, help="Even if there is a profile of this name.")
@common
@click.pass_context
def new(
    context: click.Context,
    /,
    bring_up: bool | None,
    force: bool,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Make a profile: asks for the machine, and looks up what there is.

    Nothing is asked when --instance, --host or `--kind local` says it, without a terminal, and with --json.
    """
    from ..commands import new_profile as command
    from .output.prompts import TerminalPrompts
    from .up import up

    environ = dict(os.environ)
    options = command.ProfileOptions(**given)
    view = terminal(quiet, verbose, as_json)
    prompts = TerminalPrompts(view) if view.interactive and not options.is_complete() else None
    try:
        if prompts is None:
            draft = command.draft_from_options(options, environ)
        else:
            draft = command.interview(options, prompts, environ)
            force = force or prompts.confirm_replace(draft.name, taken=command.is_taken(draft.name, environ))
        path = command.write(draft, force=force, environ=environ)
    except (KeyboardInterrupt, EOFError) as error:
        raise Interrupted("Interrupted: no profile was written") from error
    finally:
        view.pause()
    if prompts is not None and bring_up is None:
        output.say(f"Written: {path}")
        bring_up = prompts.confirm_or_leave(f"Bring {draft.name} up now?")
    if bring_up:
        return int(context.invoke(up, profile=(draft.name,), quiet=quiet, verbose=verbose, as_json=as_json))
    if as_json:
        output.document({"profile": {"name": draft.name, "path": str(path)}})
        return 0
    output.answer(str(path))
    if not quiet:
        output.say(f"`remote-runtime up {draft.name}` brings it up.")
    return 0
