"""`profiles`."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ..core.errors import Interrupted, UsageError
from ..core.sanitize import clean, clean_line
from .common import OrderedGroup, OutputOptions, common, examples
from .completion import profile_names
from .output import console, format

if TYPE_CHECKING:
    from ..profiles import ProfileFile

MAX_PATH_CHARS = 4096
MAX_PROFILE_CHARS = 1_000_000


@click.group(cls=OrderedGroup)
def profiles() -> None:
    """List, show, check and make profiles."""


@profiles.command(
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
    output: OutputOptions,
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
    view = output.view()
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
        console.say(f"Written: {path}")
        bring_up = prompts.confirm_or_leave(f"Bring {draft.name} up now?")
    if bring_up:
        return int(context.invoke(up, profile=(draft.name,), **asdict(output)))
    if output.as_json:
        console.document({"profile": {"name": draft.name, "path": str(path)}})
        return 0
    console.answer(str(path))
    if not output.quiet:
        console.say(f"`remote-runtime up {draft.name}` brings it up.")
    return 0


@profiles.command(name="list")
@common
def list_(output: OutputOptions) -> None:
    """All profiles, and where each comes from."""
    from ..profiles import list_profiles

    found = list_profiles()
    if output.as_json:
        console.document({"profiles": [{**asdict(each), "path": str(each.path)} for each in found]})
        return
    rows = [(each.name, _origin(each), format.path(each.path)) for each in found]
    console.answer(console.table(("NAME", "FROM", "FILE"), rows))
    for each in found:
        if each.problem and not output.quiet:
            console.say(f"{each.name} cannot be used: {each.problem}")


def _origin(found: ProfileFile) -> str:
    notes = ["invalid"] * bool(found.problem) + ["hidden by one above"] * found.shadowed
    return ", ".join([found.origin, *notes])


@profiles.command(name="show")
@click.argument("profile", shell_complete=profile_names)
@common
def show_profile(profile: str, output: OutputOptions) -> None:
    """A profile with every key, as it works here."""
    from ..profiles import load, to_document, to_yaml

    loaded = load(profile)
    if output.as_json:
        console.document({"name": loaded.name, "path": str(loaded.path), "profile": to_document(loaded)})
    else:
        path = clean_line(str(loaded.path), MAX_PATH_CHARS)
        console.answer(f"# {path}\n{clean(to_yaml(loaded).rstrip(), MAX_PROFILE_CHARS)}")


@profiles.command(
    epilog=examples(
        "profiles check my-vm ./other.yaml",
        "profiles check --schema > schema.json    # for an editor",
    )
)
@click.argument("profile", nargs=-1, shell_complete=profile_names)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of profiles.")
@common
def check(profile: tuple[str, ...], schema: bool, output: OutputOptions) -> int:
    """Whether profiles can be used; every mistake with its line."""
    import json

    from ..profiles import json_schema as describe
    from ..profiles import load

    if schema:
        console.answer(json.dumps(describe(), indent=2))
        return 0
    if not profile:
        raise UsageError("usage", "Name the profiles to check", "", "`remote-runtime profiles list` names them")
    loaded, errors = [], {}
    for reference in profile:
        try:
            loaded.append(load(reference))
        except UsageError as error:
            if len(profile) == 1:
                raise
            errors[reference] = error
    good = [{"name": each.name, "path": str(each.path)} for each in loaded]

    def show() -> None:
        for each in loaded if not output.quiet else ():
            console.answer(f"{clean_line(str(each.path), MAX_PATH_CHARS)}: good")

    return output.finish({"profiles": good}, errors, show)
