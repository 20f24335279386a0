"""`profiles`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..core.errors import Interrupted, UsageError
from ..core.sanitize import clean, clean_line
from .common import OutputOptions, common, state
from .completion import profile_names
from .group import OrderedGroup, examples
from .new_profile import new
from .output import console
from .output.theme import paint

if TYPE_CHECKING:
    from ..profiles import ProfileFile

MAX_PATH_CHARS = 4096
MAX_PROFILE_CHARS = 1_000_000


@click.group(cls=OrderedGroup)
def profiles() -> None:
    """Manage profiles."""


profiles.add_command(new)


@profiles.command(name="list")
@common
def list_(output: OutputOptions) -> None:
    """List profiles."""
    from ..profiles import TEMPLATES, list_profiles

    found = list_profiles()
    if output.as_json:
        rows = [{**asdict(each), "path": str(each.path), "template": each.is_template} for each in found]
        console.document({"profiles": rows})
        return
    console.answer(_table([each for each in found if not each.is_template]))
    if output.quiet:
        return
    copy = f"  Copy one: `remote-runtime profiles show {TEMPLATES[0]} > my-vm.yaml`"
    heading = f"{paint('Templates', 'heading')}: {', '.join(TEMPLATES)}"
    console.say_lines(["", heading, console.bright_commands(copy)])
    for each in found:
        if each.problem:
            reference = each.name if each.path.parent.is_dir() and not each.shadowed else str(each.path)
            console.say(
                f"{paint('!', 'warning')} {each.name} is invalid: {each.problem}".replace(f"{each.path}:", "line ")
            )
            console.say(f"  `remote-runtime profiles check {reference}` shows all problems")


def _table(found: Sequence[ProfileFile]) -> str:
    from ..profiles import source

    hidden = {True: " (hidden by another file)", False: ""}
    rows = [
        (each.name, each.kind or "invalid", each.target, source(each.path) + hidden[each.shadowed]) for each in found
    ]
    return console.table(("NAME", "KIND", "TARGET", "SOURCE"), rows, max_columns=console.width())


@profiles.command(
    name="show",
    epilog=examples("profiles show my-vm --all", "profiles show example > my-vm.yaml    # a template"),
)
@click.argument("profile", shell_complete=profile_names)
@click.option("--all", "all_keys", is_flag=True, help="Also show keys with default values.")
@common
def show_profile(profile: str, all_keys: bool, output: OutputOptions) -> None:
    """Show a profile.

    Shows the keys that its file sets; --all adds the defaults. `profiles show example` prints a template with comments.
    """
    from .. import profiles as library

    loaded = library.load(profile)
    if output.as_json:
        shown = {"profile": library.to_document(loaded), "set": library.set_document(loaded)}
        console.document({"name": loaded.name, "path": str(loaded.path), **shown})
    elif library.is_packaged(loaded.path) and loaded.name in library.TEMPLATES and not all_keys:
        console.answer(library.template_text(loaded.name).rstrip())
    else:
        text = library.marked_yaml(loaded) if all_keys else library.set_yaml(loaded)
        console.answer(paint(f"# {clean_line(str(loaded.path), MAX_PATH_CHARS)}", "detail", sys.stdout))
        for line in clean(text.rstrip(), MAX_PROFILE_CHARS).splitlines():
            is_default = line.endswith(library.DEFAULT_MARK)
            console.answer(paint(line, "detail", sys.stdout) if is_default else line)


@profiles.command(
    epilog=examples(
        "profiles check",
        "profiles check my-vm ./other.yaml",
        "profiles check --schema > schema.json    # for an editor",
    )
)
@click.argument("profile", nargs=-1, shell_complete=profile_names)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of profiles.")
@common
def check(profile: tuple[str, ...], schema: bool, output: OutputOptions) -> int:
    """Check profiles for problems.

    Reports each problem with its line and column. Without PROFILE, checks all profiles of your own.
    """
    from ..profiles import list_profiles, load, schema_text

    if schema:
        console.answer(schema_text().rstrip())
        return 0
    if not profile:
        own = [each for each in list_profiles() if each.origin != "packaged"]
        profile = tuple(str(each.path) if each.shadowed or each.problem else each.name for each in own)
        if not profile and not output.as_json:
            console.say("No profiles of your own. Create one with `remote-runtime profiles new`")
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
            mark = paint("valid", "ok", sys.stdout)
            console.answer(f"{clean_line(str(each.path), MAX_PATH_CHARS)}: {mark}")

    return output.finish({"profiles": good}, errors, show)


@profiles.command()
@click.argument("profile", shell_complete=profile_names)
@common
def edit(profile: str, output: OutputOptions) -> int:
    """Edit and check a profile.

    Opens $VISUAL or $EDITOR. If the profile has problems after saving, offers to edit it again.
    """
    from ..commands import profile_files
    from ..commands.profile_reference import profile_reference
    from ..profiles import load
    from .output.prompts import TerminalPrompts

    reference = profile_reference(profile, state(), os.environ)
    _, path = profile_files.own_profile_path(reference, state(), os.environ)
    profile_files.update_schema(path, os.environ)
    view = output.view()
    while True:
        _open_editor(path)
        try:
            loaded = load(reference)
            break
        except UsageError as error:
            if not view.interactive:
                raise
            console.failure(error)
            if not TerminalPrompts(view).confirm_or_leave("Edit it again?", default=True):
                return error.exit_code
    if output.as_json:
        console.document({"profile": {"name": loaded.name, "path": str(path)}})
    elif not output.quiet:
        console.answer(f"{clean_line(str(path), MAX_PATH_CHARS)}: {paint('valid', 'ok', sys.stdout)}")
    return 0


def _open_editor(path: Path) -> None:
    try:
        click.edit(filename=str(path))
    except click.ClickException as error:
        hint = "Set the editor: `export EDITOR=nano`"
        raise UsageError("usage", f"Can't edit {path}", error.format_message(), hint) from error


@profiles.command()
@click.argument("profile", shell_complete=profile_names)
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@common
def rm(profile: str, yes: bool, output: OutputOptions) -> None:
    """Remove a profile.

    Deletes the file after a confirmation. Built-in profiles and those of running runtimes are kept.
    """
    from ..commands import profile_files
    from .output.prompts import TerminalPrompts

    name, path = profile_files.own_profile_path(profile, state(), os.environ)
    view = output.view()
    if not yes:
        question = f"Remove {clean_line(str(path), MAX_PATH_CHARS)}?"
        if not view.interactive:
            raise UsageError("usage", f"Input required: {question}", "stdin is not a terminal", "Pass --yes")
        try:
            if not TerminalPrompts(view).confirm(question, default=False):
                raise EOFError
        except (KeyboardInterrupt, EOFError) as error:
            raise Interrupted("Cancelled: the profile was not removed") from error
    profile_files.remove(name, path, state())
    if output.as_json:
        console.document({"removed": {"name": name, "path": str(path)}})
    elif not output.quiet:
        console.say(f"Removed {clean_line(str(path), MAX_PATH_CHARS)}")


@profiles.command(name="path")
@click.argument("profile", shell_complete=profile_names)
@common
def path_(profile: str, output: OutputOptions) -> None:
    """Print the path of a profile's file."""
    from ..commands import profile_files

    name, path = profile_files.profile_path(profile, state(), os.environ)
    if output.as_json:
        console.document({"profile": {"name": name, "path": str(path)}})
    else:
        console.answer(clean_line(str(path), MAX_PATH_CHARS))
