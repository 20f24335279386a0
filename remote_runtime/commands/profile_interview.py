"""The interview of `profiles new`: asks for the machine, and looks up what there is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol, TypeVar

from .. import compute, profiles, ssh
from ..core.callbacks import Progress
from ..core.deadline import Deadline
from ..core.errors import Interrupted, RemoteRuntimeError
from ..profiles import ProfileTemplate
from .new_profile import NO_PACKAGES, ProfileOptions, build_draft, free_names

T = TypeVar("T")
LOOKUP_TIMEOUT_S = 60.0
KINDS = (
    ("gce", "A Compute Engine VM"),
    ("ssh", "An SSH host"),
    ("local", "This computer"),
)
PROPOSED_IDLE = "2h"
PROPOSED_PACKAGES = "numpy pandas matplotlib"
NOT_SIGNED_IN = (
    "Can't list projects: not signed in to Google Cloud. Run `gcloud auth application-default login`, "
    "or type a project ID."
)


Rows = Sequence[Sequence[str]]
Validator = Callable[[str], str]  # why a text is invalid; empty if it is valid


class Prompts(Protocol):
    """Asks the user until the answer is valid. Raises ``EOFError`` and ``KeyboardInterrupt`` when they leave."""

    def note(self, text: str) -> None: ...
    def preview(self, text: str) -> None:
        """Shows the keys of a profile's text."""

    def show_error(self, error: RemoteRuntimeError) -> None:
        """A look-up failed, and the interview continues."""

    def progress(self, text: str) -> AbstractContextManager[Progress]:
        """Shows ``text`` while the block runs."""

    def prompt(self, question: str, *, default: str = "", validate: Validator) -> str: ...
    def choose(
        self, question: str, head: Sequence[str], rows: Rows, *, default: str = "", validate: Validator | None
    ) -> Sequence[str]:
        """One of ``rows``, or what was typed instead as the only cell if ``validate`` accepts it."""

    def confirm(self, question: str, *, default: bool) -> bool: ...


def interview(options: ProfileOptions, prompts: Prompts, environ: Mapping[str, str]) -> ProfileTemplate:
    """Ask for what the options leave open. Raises ``UsageError``, ``EOFError``, ``KeyboardInterrupt``."""
    options = options.with_kind()
    if options.kind is None:
        kind = prompts.choose(
            "What do you want to connect to?", ("KIND", "TARGET"), KINDS, default="gce", validate=None
        )[0]
        options = replace(options, kind=kind)  # type: ignore[arg-type]  # one of KINDS
    description = ""
    if options.kind == "gce":
        options, description = _choose_instance(options, prompts, environ)
    elif options.kind == "ssh" and not options.host:
        options = _choose_host(options, prompts, environ)
    if options.packages is None:
        question = f"Packages to install with Jupyter, or {NO_PACKAGES}"
        packages = prompts.prompt(question, default=PROPOSED_PACKAGES, validate=_packages_error)
        options = replace(options, packages=packages)
    name = options.name or prompts.prompt(
        "Name of the profile", default=next(free_names(options, environ)), validate=profiles.name_error
    )
    return build_draft(options, name, description)


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
            question = "Zone (Enter: search all zones)"
            zone = prompts.prompt(question, validate=_optional_validator("zone"))
            options = replace(options, zone=zone or None)
    if options.on_down is None:
        stop = prompts.confirm("A running VM is billed. Stop it when you run `down`?", default=True)
        options = replace(options, on_down="stop" if stop else "keep")
    if options.idle is None:
        question = "Stop the VM when it's idle for (a duration such as 2h, or never)"
        options = replace(options, idle=prompts.prompt(question, default=PROPOSED_IDLE, validate=_validator("idle")))
    return options, description


def _choose_project(
    options: ProfileOptions, prompts: Prompts, environ: Mapping[str, str]
) -> tuple[ProfileOptions, bool]:
    """The options with a project, and whether there are credentials."""
    found = _look_up("Listing your projects", prompts, functools.partial(compute.list_projects, environ=environ))
    signed_in, projects = found is not None, found or compute.ProjectList()
    if projects.why_none:
        prompts.note(f"Can't list projects: {projects.why_none}")
    if projects.ids:
        rows = [(each, f"from {projects.source}" if each == projects.default else "") for each in projects.ids]
        default = projects.default if projects.default in projects.ids or len(projects.ids) > 1 else projects.ids[0]
        head, validate = ("PROJECT", "DEFAULT"), _validator("project")
        project = prompts.choose("Google Cloud project", head, rows, default=default, validate=validate)[0]
    else:
        fallback = "from gcloud or the credentials" if signed_in else "from gcloud"
        question = "Project ID" if projects.default else f"Project ID (Enter: {fallback})"
        project = prompts.prompt(question, default=projects.default, validate=_optional_validator("project"))
    return replace(options, project=project or None), signed_in


def _candidates(options: ProfileOptions, prompts: Prompts, environ: Mapping[str, str]) -> list[compute.InstanceSummary]:
    project = options.project or ""
    call = functools.partial(compute.list_instances, project, environ=environ)
    found = _look_up(f"Listing VMs in {project}", prompts, call)
    fitting = [each for each in found or () if options.zone in (None, each.zone)]
    if found is not None and not fitting:
        prompts.note(f"No VMs in project {project}" + (f", zone {options.zone}" if options.zone else ""))
    return sorted(fitting, key=lambda each: each.status != "RUNNING")


def _look_up(text: str, prompts: Prompts, call: Callable[..., T]) -> T | None:
    """None when it failed, which is shown."""
    try:
        with prompts.progress(text) as progress:
            return call(progress=progress, deadline=Deadline(LOOKUP_TIMEOUT_S))
    except Interrupted:
        raise
    except RemoteRuntimeError as error:
        if error.code == "no-credentials":
            prompts.note(NOT_SIGNED_IN)
        else:
            prompts.show_error(error)
        return None


def _prompt_for_instance(prompts: Prompts, rows: Rows) -> Sequence[str]:
    if not rows:
        return [prompts.prompt("Name of the VM", validate=_validator("instance"))]
    head = ("VM", "STATUS", "ZONE", "MACHINE TYPE", "GPU", "LABELS")
    default = str(rows[0][0]) if len(rows) == 1 else ""
    return prompts.choose("VM", head, rows, default=default, validate=_validator("instance"))


def _candidate_row(machine: compute.InstanceSummary) -> tuple[str, ...]:
    labels = ", ".join(f"{key}={value}" for key, value in machine.labels.items())
    return machine.name, machine.status, machine.zone, machine.machine_type, machine.gpus, labels


def _choose_host(options: ProfileOptions, prompts: Prompts, environ: Mapping[str, str]) -> ProfileOptions:
    rows = [(name, address) for name, address in ssh.host_aliases(environ).items()]

    def validate(text: str) -> str:
        user, _, host = text.rpartition("@")
        return profiles.value_error("host", host) or (profiles.value_error("user", user) if user else "")

    question, unresolved = "Host (HOST or USER@HOST)", ""
    answer = prompts.choose("Host", ("HOST", "ADDRESS"), rows, validate=validate)[0] if rows else ""
    while True:
        answer = answer or prompts.prompt(question, default=unresolved, validate=validate)
        user, _, host = answer.rpartition("@")
        if host in dict(rows) or answer == unresolved or ssh.is_resolvable(host):
            return replace(options, host=host, user=options.user or user or None)
        prompts.note(f"Can't resolve {host}. Correct it, or press Enter to use it anyway (a VPN may be needed).")
        answer, unresolved = "", answer


def _packages_error(text: str) -> str:
    return "" if text == NO_PACKAGES else profiles.value_error("packages", text)


def _validator(key: str) -> Validator:
    return lambda text: profiles.value_error(key, text)


def _optional_validator(key: str) -> Validator:
    return lambda text: profiles.value_error(key, text) if text else ""
