"""`profiles`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ..core.errors import UsageError
from ..core.sanitize import clean, clean_line
from . import output
from .common import common, error_document, exit_code_of
from .completion import profile_names
from .new import new
from .output import format
from .pages import OrderedGroup, examples

if TYPE_CHECKING:
    from ..profiles import ProfileFile

MAX_PATH_CHARS = 4096
MAX_PROFILE_CHARS = 1_000_000


@click.group(cls=OrderedGroup)
def profiles() -> None:
    """List, show, check and make profiles."""


profiles.add_command(new)


@profiles.command(name="list")
@common
def list_(quiet: bool, verbose: bool, as_json: bool) -> None:
    """All profiles, and where each comes from."""
    from ..profiles import list_profiles

    found = list_profiles()
    if as_json:
        output.document({"profiles": [{**asdict(each), "path": str(each.path)} for each in found]})
        return
    rows = [(each.name, _origin(each), format.path(each.path)) for each in found]
    output.answer(output.table(("NAME", "FROM", "FILE"), rows))
    for each in found:
        if each.problem and not quiet:
            output.say(f"{each.name} cannot be used: {each.problem}")


def _origin(found: ProfileFile) -> str:
    notes = ["invalid"] * bool(found.problem) + ["hidden by one above"] * found.shadowed
    return ", ".join([found.origin, *notes])


@profiles.command(name="show")
@click.argument("profile", shell_complete=profile_names)
@common
def show_profile(profile: str, quiet: bool, verbose: bool, as_json: bool) -> None:
    """A profile with every key, as it works here."""
    from ..profiles import load, to_document, to_yaml

    loaded = load(profile)
    if as_json:
        output.document({"name": loaded.name, "path": str(loaded.path), "profile": to_document(loaded)})
    else:
        path = clean_line(str(loaded.path), MAX_PATH_CHARS)
        output.answer(f"# {path}\n{clean(to_yaml(loaded).rstrip(), MAX_PROFILE_CHARS)}")


@profiles.command(
    epilog=examples(
        "profiles check my-vm ./other.yaml",
        "profiles check --schema > schema.json    # for an editor",
    )
)
@click.argument("profile", nargs=-1, shell_complete=profile_names)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of profiles.")
@common
def check(profile: tuple[str, ...], schema: bool, quiet: bool, verbose: bool, as_json: bool) -> int:
    """Whether profiles can be used; every mistake with its line."""
    import json

    from ..profiles import json_schema as describe
    from ..profiles import load

    if schema:
        output.answer(json.dumps(describe(), indent=2))
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
    if as_json:
        good = [{"name": each.name, "path": str(each.path)} for each in loaded]
        output.document({"profiles": good, **error_document(errors, as_json=True)})
        return exit_code_of(errors)
    for each in loaded:
        if not quiet:
            output.answer(f"{clean_line(str(each.path), MAX_PATH_CHARS)}: good")
    error_document(errors, as_json=False)
    return exit_code_of(errors)
