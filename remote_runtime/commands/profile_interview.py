"""The interview of `profiles new`: asks for the machine, and looks up what there is."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .. import compute, profiles, ssh
from ..profiles import ProfileTemplate
from .interview import Prompts, Rows, choose_project, look_up, optional_validator, validator
from .new_profile import NO_PACKAGES, ProfileOptions, build_draft, free_names
from .new_vm_interview import choose_new_vm

KINDS = (
    ("gce", "A Compute Engine VM"),
    ("new-vm", "A new Compute Engine VM, which `up` creates"),
    ("ssh", "An SSH host"),
    ("local", "This computer"),
)
PROPOSED_IDLE = "2h"
PROPOSED_PACKAGES = "numpy pandas matplotlib"


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
        options = _choose_ends(options, prompts)
    elif options.kind == "new-vm":
        options, description = choose_new_vm(options, prompts, environ)
        options = _choose_ends(options, prompts)
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
        options, signed_in = choose_project(options, prompts, environ)
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
            zone = prompts.prompt(question, validate=optional_validator("zone"))
            options = replace(options, zone=zone or None)
    return options, description


def _choose_ends(options: ProfileOptions, prompts: Prompts) -> ProfileOptions:
    """When the VM is stopped."""
    if options.on_down is None:
        stop = prompts.confirm("A running VM is billed. Stop it when you run `down`?", default=True)
        options = replace(options, on_down="stop" if stop else "keep")
    if options.idle is None:
        question = "Stop the VM when it's idle for (a duration such as 2h, or never)"
        options = replace(options, idle=prompts.prompt(question, default=PROPOSED_IDLE, validate=validator("idle")))
    return options


def _candidates(options: ProfileOptions, prompts: Prompts, environ: Mapping[str, str]) -> list[compute.InstanceSummary]:
    project = options.project or ""
    call = functools.partial(compute.list_instances, project, environ=environ)
    found = look_up(f"Listing VMs in {project}", prompts, call)
    fitting = [each for each in found or () if options.zone in (None, each.zone)]
    if found is not None and not fitting:
        prompts.note(f"No VMs in project {project}" + (f", zone {options.zone}" if options.zone else ""))
    return sorted(fitting, key=lambda each: each.status != "RUNNING")


def _prompt_for_instance(prompts: Prompts, rows: Rows) -> Sequence[str]:
    if not rows:
        return [prompts.prompt("Name of the VM", validate=validator("instance"))]
    head = ("VM", "STATUS", "ZONE", "MACHINE TYPE", "GPU", "LABELS")
    default = str(rows[0][0]) if len(rows) == 1 else ""
    return prompts.choose("VM", head, rows, default=default, validate=validator("instance"))


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
