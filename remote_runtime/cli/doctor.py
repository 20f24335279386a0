"""`doctor`."""

from __future__ import annotations

import functools
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..core.errors import UsageError
from .common import OutputOptions, common, examples
from .completion import profile_names
from .output import console

if TYPE_CHECKING:
    from ..core.model import Finding


@click.command(
    epilog=examples(
        "doctor my-vm",
        "doctor                          # this computer",
        "doctor my-vm --report out.md    # for an issue",
    )
)
@click.argument("profile", required=False, shell_complete=profile_names)
@click.option(
    "--report",
    "report_to",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write what an issue needs, without secrets.",
)
@click.option("--force", is_flag=True, help="Write over the report's file if it is there.")
@common
def doctor(profile: str | None, report_to: Path | None, force: bool, output: OutputOptions) -> int:
    """Check the whole path from the profile to the browser.

    A line a check says what holds, what fails and why, and the command that mends it. A runtime that is up is looked
    at as it is. Otherwise doctor goes the way of `up` itself and takes it all back; it starts no instance and installs
    nothing. Without PROFILE it looks at this computer.
    """
    from ..commands.context import run_parallel
    from ..commands.doctor.run import doctor as check
    from ..commands.doctor.run import exit_code
    from .output import findings

    if force and report_to is None:
        raise UsageError("usage", "--force is for --report")
    context = output.context(transient=True)
    printer = findings.FindingsPrinter(quiet=output.quiet, verbose=output.verbose)

    def show(finding: Finding) -> None:
        context.view.pause()
        if not output.as_json:
            printer.show(finding)

    job = functools.partial(check, profile, context, on_finding=show, report_to=report_to, force=force)
    result = run_parallel({"doctor": job}, context)["doctor"]
    printer.flush()
    if isinstance(result, Exception):
        raise result
    if output.as_json:
        console.document({**result, "findings": [asdict(finding) for finding in result["findings"]]})
    elif not output.quiet:
        findings.summarize(result["findings"])
        if report_to is not None:
            console.say(f"The report is in {report_to}: read it before you post it")
    return exit_code(result["findings"])
