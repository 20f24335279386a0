"""`profiles new`: a profile from the options of the command line, or from an interview."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from .. import compute, profiles, ssh
from ..core.callbacks import Progress
from ..core.deadline import Deadline
from ..core.errors import Interrupted, LocalError, RemoteRuntimeError, UsageError
from ..core.fast_dataclass import fast_dataclass
from ..core.private_file import write_private
from ..core.profile import GceTarget, LocalTarget, SshTarget
from ..profiles import ProfileTemplate

Kind = Literal["gce", "ssh", "local"]
OnDown = Literal["keep", "stop", "suspend"]
T = TypeVar("T")
LOOKUP_TIMEOUT_S = 60.0
KINDS = (
    ("gce", "a Compute Engine VM"),
    ("ssh", "any host that you reach with ssh"),
    ("local", "this computer"),
)


Rows = Sequence[Sequence[str]]
Validator = Callable[[str], str]  # why a text cannot be taken; empty if it can


class Prompts(Protocol):
    """Asks the user until the answer is valid. Raises ``EOFError`` when they have left."""

    def note(self, text: str) -> None: ...
    def show_error(self, error: RemoteRuntimeError) -> None:
        """A look-up failed, and the interview goes on."""

    def progress(self, text: str) -> AbstractContextManager[Progress]:
        """Shows ``text`` while the block runs."""

    def prompt(self, question: str, *, default: str = "", validate: Validator) -> str: ...
    def choose(
        self, question: str, head: Sequence[str], rows: Rows, *, default: str = "", validate: Validator
    ) -> Sequence[str]:
        """One of ``rows``, or what was typed instead as the only cell."""

    def confirm(self, question: str, *, default: bool) -> bool: ...


@fast_dataclass(frozen=True)
class ProfileOptions:
    """The options of the command line; None was not given."""

    name: str | None = None
    kind: Kind | None = None
    project: str | None = None
    zone: str | None = None
    instance: str | None = None
    host: str | None = None
    user: str | None = None
    on_down: OnDown | None = None
    idle: str | None = None

    def is_complete(self) -> bool:
        """Whether they describe a machine without an interview."""
        return bool(self.kind == "local" or self.instance or self.host)

    def with_kind(self) -> ProfileOptions:
        """With the kind that the other options imply. Raises ``UsageError`` for invalid or contradicting values."""
        kinds: set[Kind] = {self.kind} if self.kind else set()
        if self.project or self.zone or self.instance or self.on_down or self.idle:
            kinds.add("gce")
        if self.host:
            kinds.add("ssh")
        if len(kinds) > 1:
            raise UsageError("usage", f"Some flags are for a target of kind {', others for '.join(sorted(kinds))}")
        for key in profiles.PROMPTED_KEYS:
            value = getattr(self, key)
            why = profiles.value_error(key, value) if value is not None else ""
            if why:
                raise UsageError("usage", f"--{key}: {why}")
        return replace(self, kind=next(iter(kinds), None))


def draft_from_options(options: ProfileOptions, environ: Mapping[str, str]) -> ProfileTemplate:
    """The profile that the options alone describe. Raises ``UsageError`` when they are not enough."""
    options = options.with_kind()
    if not options.is_complete():
        raise UsageError(
            "usage",
            "Nobody can be asked here, and the flags do not say which machine",
            "",
            "Give --instance, --host, or --kind local",
        )
    return _draft(options, options.name or next(_free_names(options, environ)))


def interview(options: ProfileOptions, prompts: Prompts, environ: Mapping[str, str]) -> ProfileTemplate:
    """Ask for what the options do not say. Raises ``UsageError``, ``EOFError``, ``KeyboardInterrupt``."""
    options = options.with_kind()
    if options.kind is None:
        kind = prompts.choose("Which machine?", ("KIND", "IT IS"), KINDS, default="gce", validate=_kind_error)[0]
        options = replace(options, kind=kind)  # type: ignore[arg-type]  # one of KINDS
    description = ""
    if options.kind == "gce":
        options, description = _choose_instance(options, prompts, environ)
    elif options.kind == "ssh" and not options.host:
        options = _choose_host(options, prompts, environ)
    name = options.name or prompts.prompt(
        "Name of the profile", default=next(_free_names(options, environ)), validate=profiles.name_error
    )
    return _draft(options, name, description)


def write(draft: ProfileTemplate, *, force: bool, environ: Mapping[str, str]) -> Path:
    """Write the file into the user's own folder, 0600. Raises ``UsageError`` when there is a profile of this name
    already, unless ``force`` allows it to be replaced or hidden, and ``LocalError`` ``profile-not-written``."""
    why = profiles.name_error(draft.name)
    if why:
        raise UsageError("profile-invalid", f"{draft.name!r:.80} is not a name", why)
    path = profile_path(draft.name, environ)
    for other in profiles.list_profiles(environ):
        if other.name != draft.name or other.shadowed:
            continue
        hides_it = other.path != path and other.origin == "environment"
        if hides_it or not force:
            why = f"{other.path} would hide the new one" if hides_it else str(other.path)
            hint = "Give it another name" if hides_it else "Give it another name; --force writes it anyway"
            raise UsageError("usage", f"There is a profile {draft.name} already", why, hint)
    text = draft.text()
    profiles.parse_profile(draft.name, str(path), text)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, text.encode())
    except OSError as error:
        raise LocalError("profile-not-written", f"{path} cannot be written", error.strerror or str(error)) from error
    return path


def profile_path(name: str, environ: Mapping[str, str]) -> Path:
    """The file of a profile of this name in the user's own folder."""
    return profiles.user_dir(environ, Path.cwd()) / f"{name}.yaml"


def is_taken(name: str, environ: Mapping[str, str]) -> bool:
    return any(found.name == name for found in profiles.list_profiles(environ))


def _choose_instance(
    options: ProfileOptions, prompts: Prompts, environ: Mapping[str, str]
) -> tuple[ProfileOptions, str]:
    """The options with project, zone and instance, and a description of the machine."""
    signed_in, description = True, ""
    if options.project is None:
        options, signed_in = _choose_project(options, prompts, environ)
    if options.instance is None:
        candidates = _candidates(options, prompts, environ) if signed_in and options.project else []
        rows = [_candidate_row(each) for each in candidates]
        chosen = _prompt_for_instance(prompts, rows)
        options = replace(options, instance=chosen[0])
        if chosen in rows:
            machine = candidates[rows.index(chosen)]
            options = replace(options, zone=machine.zone)
            description = " with ".join(part for part in (machine.machine_type, machine.gpus) if part)
        elif options.zone is None:
            question = "Its zone (Enter: looked for in the whole project)"
            zone = prompts.prompt(question, validate=_optional_validator("zone"))
            options = replace(options, zone=zone or None)
    if options.on_down is None:
        stop = prompts.confirm("Stop the VM at `down` too? It costs money while it runs", default=False)
        options = replace(options, on_down="stop" if stop else "keep")
    if options.idle is None:
        question = "Stop it too when nobody has used it for so long (2h, or never)"
        options = replace(options, idle=prompts.prompt(question, default="never", validate=_validator("idle")))
    return options, description


def _choose_project(
    options: ProfileOptions, prompts: Prompts, environ: Mapping[str, str]
) -> tuple[ProfileOptions, bool]:
    """The options with a project, and whether there are credentials."""
    found = _look_up("Looking for your projects", prompts, functools.partial(compute.list_projects, environ=environ))
    signed_in, projects = found is not None, found or compute.ProjectList()
    if not signed_in:
        prompts.note("Without them nothing can be looked up: type the names.")
    if projects.why_none:
        prompts.note(f"Your projects cannot be listed: {projects.why_none}")
    if projects.ids:
        rows = [(each, f"from {projects.source}" if each == projects.default else "") for each in projects.ids]
        default = projects.default if projects.default in projects.ids or len(projects.ids) > 1 else projects.ids[0]
        head, validate = ("PROJECT", "DEFAULT"), _validator("project")
        project = prompts.choose("Project", head, rows, default=default, validate=validate)[0]
    else:
        fallback = "gcloud's or the credentials'" if signed_in else "the one that gcloud is configured for"
        question = "Project ID" if projects.default else f"Project ID (Enter: {fallback})"
        project = prompts.prompt(question, default=projects.default, validate=_optional_validator("project"))
    return replace(options, project=project or None), signed_in


def _candidates(options: ProfileOptions, prompts: Prompts, environ: Mapping[str, str]) -> list[compute.InstanceSummary]:
    project = options.project or ""
    call = functools.partial(compute.list_instances, project, environ=environ)
    found = _look_up(f"Looking for the instances of {project}", prompts, call)
    fitting = [each for each in found or () if options.zone in (None, each.zone)]
    if found is not None and not fitting:
        prompts.note(f"There is no instance in project {project}" + (f", zone {options.zone}" if options.zone else ""))
    return fitting


def _look_up(text: str, prompts: Prompts, call: Callable[..., T]) -> T | None:
    """None when it failed, which is shown."""
    try:
        with prompts.progress(text) as progress:
            return call(progress=progress, deadline=Deadline(LOOKUP_TIMEOUT_S))
    except Interrupted:
        raise
    except RemoteRuntimeError as error:
        prompts.show_error(error)
        return None


def _prompt_for_instance(prompts: Prompts, rows: Rows) -> Sequence[str]:
    if not rows:
        return [prompts.prompt("Name of the instance", validate=_validator("instance"))]
    head = ("INSTANCE", "ZONE", "STATUS", "GPU", "LABELS")
    default = str(rows[0][0]) if len(rows) == 1 else ""
    return prompts.choose("Instance", head, rows, default=default, validate=_validator("instance"))


def _candidate_row(machine: compute.InstanceSummary) -> tuple[str, ...]:
    labels = ", ".join(f"{key}={value}" for key, value in machine.labels.items())
    return machine.name, machine.zone, machine.status, machine.gpus, labels


def _choose_host(options: ProfileOptions, prompts: Prompts, environ: Mapping[str, str]) -> ProfileOptions:
    rows = [(name, address) for name, address in ssh.host_aliases(environ).items()]

    def validate(text: str) -> str:
        user, _, host = text.rpartition("@")
        return profiles.value_error("host", host) or (profiles.value_error("user", user) if user else "")

    if rows:
        answer = prompts.choose("Host", ("HOST", "ADDRESS"), rows, validate=validate)[0]
    else:
        answer = prompts.prompt("Host (a name or an address; USER@HOST)", validate=validate)
    user, _, host = answer.rpartition("@")
    if host not in dict(rows) and not ssh.is_resolvable(host):
        prompts.note(f"This computer finds no host {host}: `up` fails unless ~/.ssh/config or a VPN leads to it")
    return replace(options, host=host, user=options.user or user or None)


def _draft(options: ProfileOptions, name: str, description: str = "") -> ProfileTemplate:
    target: GceTarget | SshTarget | LocalTarget
    if options.kind == "gce":
        target = GceTarget(options.instance, project=options.project, zone=options.zone)
    elif options.kind == "ssh":
        target = SshTarget(options.host or "")
    else:
        target = LocalTarget()
    idle = options.idle if options.idle not in (None, "never") else ""
    return ProfileTemplate(name, target, options.user or "", options.on_down or "keep", idle or "", description)


def _free_names(options: ProfileOptions, environ: Mapping[str, str]) -> Iterator[str]:
    """Names that no profile has: the machine's own first."""
    machine = options.instance or options.host or "here"
    plain = re.sub("[^A-Za-z0-9._-]+", "-", machine).strip("-.")[:60] or "machine"
    for name in itertools.chain([plain], (f"{plain}-{number}" for number in itertools.count(2))):
        if not profiles.name_error(name) and not is_taken(name, environ):
            yield name


def _kind_error(text: str) -> str:
    return "" if text in {kind for kind, _ in KINDS} else "gce, ssh or local"


def _validator(key: str) -> Validator:
    return lambda text: profiles.value_error(key, text)


def _optional_validator(key: str) -> Validator:
    return lambda text: profiles.value_error(key, text) if text else ""
