"""What remote-runtime created in cloud projects, for `status --all-machines` and `down --orphan-resources`."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..core.errors import RemoteRuntimeError
from .common import OutputOptions, run_jobs
from .output import console
from .output.cloud_table import resource_line, result_line

if TYPE_CHECKING:
    from ..commands.cloud_resources import FoundResource
    from ..commands.context import CommandContext

Errors = Mapping[str, RemoteRuntimeError]


def list_resources(names: Sequence[str], output: OutputOptions) -> tuple[list[FoundResource], Errors]:
    """Of the projects of the profiles ``names``; without names of all projects that are known here. The errors by
    project."""
    from ..commands import cloud_resources as commands

    context = output.context(show_names=True)
    projects = commands.projects_of(names, context) if names else commands.own_projects(context)
    return _list(projects, context)


def _list(projects: Sequence[str], context: CommandContext) -> tuple[list[FoundResource], Errors]:
    from ..commands import cloud_resources as commands

    def job(project: str) -> dict[str, Any]:
        try:
            return {"found": commands.list_resources(project, context)}
        except RemoteRuntimeError as error:
            context.view.failed(project)
            return {"found": (), "error": error}

    listed, _ = run_jobs({project: functools.partial(job, project) for project in projects}, context)
    errors = {
        project or "default project": each["error"]
        for project, each in zip(projects, listed, strict=True)
        if "error" in each
    }
    found = {each.key: each for result in listed for each in result["found"]}  # a project may have two names
    return sorted(found.values(), key=lambda each: (commands.KINDS.index(each.resource.kind), each.key)), errors


def delete_orphan_resources(output: OutputOptions, *, yes: bool) -> tuple[list[dict[str, Any]], Errors]:
    """What was deleted, and the errors by project or by name. Raises ``UsageError`` ``confirmation-needed``."""
    from ..commands import cloud_resources as commands

    context, asking = output.context(show_names=True), output.context()
    found, errors = list_resources((), output)
    orphans = [each for each in found if each.is_orphan]
    lines = [resource_line(each.as_document()) for each in orphans]
    is_shown = not (output.quiet or output.as_json)
    if is_shown:
        for line in lines:
            console.say(line)
    if not orphans:
        if is_shown:
            console.say("No orphaned cloud resources.")
        return [], errors
    if not yes:
        run_jobs({"orphans": lambda: commands.confirm_orphans(orphans, lines, asking)}, asking)
    owners = list(dict.fromkeys(each.owner for each in orphans))
    jobs = {owner: functools.partial(_delete, owner, orphans, context) for owner in owners}
    done, _ = run_jobs(jobs, context)
    failed = {owner: each["error"] for owner, each in zip(owners, done, strict=True) if "error" in each}
    deleted = [each for result in done for each in result["deleted"]]
    if is_shown:
        for each in deleted:
            console.say(result_line(each))
    return deleted, {**errors, **failed}


def _delete(owner: str, orphans: Sequence[FoundResource], context: CommandContext) -> dict[str, Any]:
    from ..commands.cloud_resources import delete_orphans

    try:
        return delete_orphans(owner, orphans, context)
    except RemoteRuntimeError as error:
        context.view.failed(owner)
        return {"deleted": [], "error": error}
