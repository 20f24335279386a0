"""`status --all-machines` and `down --orphan-resources`: what remote-runtime created in cloud projects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .. import profiles
from ..core.creation import CloudResource
from ..core.deadline import Deadline
from ..core.errors import UsageError
from ..core.fast_dataclass import fast_dataclass
from ..core.model import Runtime
from ..core.profile import GceTarget
from ..state import store
from .context import CommandContext
from .profile_reference import load_profile
from .up import exclusive

LIST_TIMEOUT_S = 60.0
DELETE_TIMEOUT_S = 420.0
KINDS = ("instance", "disk", "snapshot")


@fast_dataclass(frozen=True)
class FoundResource:
    """``runtime``: the one here that it belongs to, also while that is down and its profile names the VM. ``owner``:
    the name here whose label it has, also of a runtime that is down; empty for another computer's. ``in_use_by``: an
    instance that remains and uses the disk."""

    resource: CloudResource
    runtime: str = ""
    owner: str = ""
    in_use_by: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        return _key(self.resource)

    @property
    def is_orphan(self) -> bool:
        """Whether ``delete_orphans`` deletes it."""
        return bool(self.owner) and not self.runtime and not self.in_use_by

    def as_document(self) -> dict[str, Any]:
        each = self.resource
        return {
            **{name: getattr(each, name) for name in ("kind", "name", "project", "zone", "created_at", "created_by")},
            "runtime": self.runtime or None,
            "owner": self.owner or None,
            "in_use_by": self.in_use_by or None,
            "orphan": self.is_orphan,
        }


def projects_of(references: Iterable[str], context: CommandContext) -> tuple[str, ...]:
    """The projects of the profiles; an empty name is that of the environment."""
    targets = [load_profile(reference, context).target for reference in references]
    return tuple(dict.fromkeys(target.project or "" for target in targets if isinstance(target, GceTarget)))


def own_projects(context: CommandContext) -> tuple[str, ...]:
    """Those of the usable profiles, and those in which a runtime here has resources. Packaged profiles are templates;
    profiles in ``./profiles`` may be anybody's."""
    paths = _profile_paths(context, without=("packaged", "directory")).values()
    of_runtimes: list[str | None] = []
    for runtime in _runtimes(context.state):
        if runtime.target.get("kind") == "gce":
            of_runtimes += [each.project for each in runtime.resources]
            of_runtimes += [runtime.instance.project] if runtime.instance is not None else []
    return tuple(dict.fromkeys([*projects_of(paths, context), *filter(None, of_runtimes)]))


def _profile_paths(context: CommandContext, *, without: Sequence[str]) -> dict[str, str]:
    """Of the usable profiles, by name. ``without``: origins."""
    found = [each for each in profiles.list_profiles(context.environ) if each.problem is None and not each.shadowed]
    return {each.name: str(each.path) for each in found if each.origin not in without}


def list_resources(project: str, context: CommandContext) -> tuple[FoundResource, ...]:
    """What has the label of any client in ``project``. Raises ``CloudError``."""
    from .. import compute

    shown = project or "the default project"
    context.view.step(shown, f"Listing what remote-runtime created in {shown}")
    deadline = context.deadline(LIST_TIMEOUT_S)
    progress = context.progress(shown)
    found = compute.find_by_label(project or None, progress=progress, deadline=deadline, environ=context.environ)
    context.view.done(shown)
    return _with_owners(found, context)


def confirm_orphans(found: Sequence[FoundResource], lines: Sequence[str], context: CommandContext) -> dict[str, Any]:
    """``lines``: names each. Returns an empty dictionary if they can be deleted. Raises ``UsageError``
    ``confirmation-needed``."""
    hint = "Run `remote-runtime down --orphan-resources --yes`"
    if not context.view.interactive:
        what = f"Deleting {counted(found)} requires a confirmation"
        raise UsageError("confirmation-needed", what, "; ".join(lines), hint)
    if not context.view.confirm("", f"Delete {counted(found)} for good?"):
        raise UsageError("confirmation-needed", "Deleted nothing", "the answer was not yes", hint)
    return {}


def counted(found: Sequence[FoundResource]) -> str:
    """Such as ``1 VM and 2 disks``."""
    words = {"instance": "VM", "disk": "disk", "snapshot": "snapshot"}
    counts = [(sum(each.resource.kind == kind for each in found), words[kind]) for kind in KINDS]
    parts = [f"{count} {word}{'s' * (count > 1)}" for count, word in counts if count]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def delete_orphans(owner: str, found: Sequence[FoundResource], context: CommandContext) -> dict[str, Any]:
    """Deletes those of ``found`` that have the label of ``owner`` and still belong to no runtime here:
    ``{"deleted": [RESOURCE with "result"]}``. Raises ``CloudError``, ``LocalError`` ``busy``."""
    deadline = context.deadline(DELETE_TIMEOUT_S)
    with exclusive(owner, deadline, context):  # no `up` of this name takes one over meanwhile
        again = _with_owners([each.resource for each in found], context)
        own = [each for each in again if each.is_orphan and each.owner == owner]
        if own:
            context.view.step(owner, f"Deleting {counted(own)}", f"Deleted {counted(own)}")
        results = _delete([each.resource for each in own], owner, context, deadline)
        context.view.done(owner)
    return {"deleted": [{**each.as_document(), "result": results[_key(each.resource)]} for each in own]}


def _delete(
    resources: Sequence[CloudResource], owner: str, context: CommandContext, deadline: Deadline
) -> dict[tuple[str, ...], str]:
    from .. import compute

    results: dict[tuple[str, ...], str] = {}
    for client_id in dict.fromkeys(each.created_by for each in resources):
        own = [each for each in resources if each.created_by == client_id]
        ends = compute.delete_resources(
            own, client_id, progress=context.progress(owner), deadline=deadline, environ=context.environ
        )
        results |= dict(zip(map(_key, own), ends, strict=True))
    return results


def _with_owners(found: Iterable[CloudResource], context: CommandContext) -> tuple[FoundResource, ...]:
    state = context.state
    resources, runtimes = list(found), _runtimes(state)
    owners = {store.load_last_run(state, name).client_id: name for name in store.list_last_runs(state)}
    owners |= {runtime.client_id: runtime.name for runtime in runtimes}
    used = {key: runtime.name for runtime in runtimes for key in _keys_of(runtime)}
    named = _named_instances(set(owners.values()), context)

    def owned(each: CloudResource, in_use_by: str = "") -> FoundResource:
        owner, instance = owners.get(each.created_by, ""), each.name if each.kind == "instance" else each.attached_to
        runtime = used.get(_key(each), "") or used.get(("instance", instance, each.project, each.zone), "")
        return FoundResource(each, runtime or (owner if named.get(owner) == instance else ""), owner, in_use_by)

    first = [owned(each) for each in resources]
    orphans = {(each.resource.name, each.resource.zone) for each in first if each.is_orphan and _is_instance(each)}
    return tuple(
        owned(each, "" if (each.attached_to, each.zone) in orphans else each.attached_to) for each in resources
    )


def _named_instances(names: set[str], context: CommandContext) -> dict[str, str]:
    """The instances that the profiles ``names`` mean: a VM that `down` has stopped is the next `up`'s."""
    paths = _profile_paths(context, without=("packaged",)).items()
    targets = {name: load_profile(path, context).target for name, path in paths if name in names}
    return {
        name: target.instance for name, target in targets.items() if isinstance(target, GceTarget) and target.instance
    }


def _is_instance(found: FoundResource) -> bool:
    return found.resource.kind == "instance"


def _runtimes(state: store.StateDir) -> list[Runtime]:
    return [runtime for name in store.list_names(state) if (runtime := store.load_if_readable(state, name)) is not None]


def _keys_of(runtime: Runtime) -> set[tuple[str, str, str, str]]:
    keys = {_key(each) for each in runtime.resources}
    if (instance := runtime.instance) is not None:
        keys.add(("instance", instance.name, instance.project or "", instance.zone or ""))
    return keys


def _key(resource: CloudResource) -> tuple[str, str, str, str]:
    return resource.kind, resource.name, resource.project, resource.zone
