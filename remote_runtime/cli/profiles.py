"""`profiles`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ..core.errors import UsageError
from ..core.sanitize import clean, clean_line
from . import output
from .common import common, told, worst
from .completion import profile_names
from .new import new
from .output import format
from .pages import InOrder, examples

if TYPE_CHECKING:
    from ..profiles import Found

LONGEST_PATH = 4096
LONGEST_PROFILE = 1_000_000


@click.group(cls=InOrder)
def profiles() -> None:
    """List, show, check and make profiles."""


profiles.add_command(new)


@profiles.command(name="list")
@common
def list_(quiet: bool, verbose: bool, as_json: bool) -> None:
    """All profiles, and where each comes from."""
    from ..profiles import find_all

    found = find_all()
    if as_json:
        output.document({"profiles": [{**asdict(each), "path": str(each.path)} for each in found]})
        return
    rows = [(each.name, _origin(each), format.path(each.path)) for each in found]
    output.answer(output.table(("NAME", "FROM", "FILE"), rows))
    for each in found:
        if each.problem and not quiet:
            output.say(f"{each.name} cannot be used: {each.problem}")


def _origin(found: Found) -> str:
    notes = ["invalid"] * bool(found.problem) + ["hidden by one above"] * found.shadowed
    return ", ".join([found.origin, *notes])


@profiles.command(name="show")
@click.argument("profile", shell_complete=profile_names)
@common
def show_profile(profile: str, quiet: bool, verbose: bool, as_json: bool) -> None:
    """A profile with every key, as it works here."""
    from ..profiles import as_document, as_yaml, load

    loaded = load(profile)
    if as_json:
        output.document({"name": loaded.name, "path": str(loaded.path), "profile": as_document(loaded)})
    else:
        path = clean_line(str(loaded.path), LONGEST_PATH)
        output.answer(f"# {path}\n{clean(as_yaml(loaded).rstrip(), LONGEST_PROFILE)}")


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

    from ..profiles import load
    from ..profiles import schema as describe

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
        output.document({"profiles": good, **told(errors, as_json=True)})
        return worst(errors)
    for each in loaded:
        if not quiet:
            output.answer(f"{clean_line(str(each.path), LONGEST_PATH)}: good")
    told(errors, as_json=False)
    return worst(errors)
