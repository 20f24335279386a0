"""`doctor`."""

from __future__ import annotations

import functools
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..core.errors import UsageError
from .common import OutputOptions, common
from .completion import profile_names
from .default_name import runtime_argument
from .group import ThemedCommand, examples
from .output import console

if TYPE_CHECKING:
    from ..core.model import Finding


@click.command(
    cls=ThemedCommand,
    epilog=examples(
        "doctor",
        "doctor my-vm",
        "doctor my-vm --report out.md    # for an issue",
    ),
)
@runtime_argument(profile_names, required=False)
@click.option(
    "--report",
    "report_to",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write a report for an issue.",
)
@click.option("--force", is_flag=True, help="Overwrite the report file.")
@common
def doctor(profile: str | None, report_to: Path | None, force: bool, output: OutputOptions) -> int:
    """Diagnose every step from profile to browser.

    Doctor runs the same steps as `up` and reports each check, with the cause and the fix of each failure. It checks a
    running runtime as it is. Otherwise it undoes every step; it does not start VMs or install anything. Without
    PROFILE, it checks the only running runtime; if none or several are running, this computer and all runtimes.
    """
    from ..commands.context import run_parallel
    from ..commands.doctor.run import doctor as check
    from ..commands.doctor.run import exit_code
    from .output import findings

    if force and report_to is None:
        raise UsageError("usage", "--force requires --report")
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
            console.say(f"Wrote the report to {report_to}. Read it before you post it.")
    return exit_code(result["findings"])
