"""`doctor`."""

from __future__ import annotations

import functools
import os
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..core.errors import UsageError
from .common import common, examples, state, terminal
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
def doctor(profile: str | None, report_to: Path | None, force: bool, quiet: bool, verbose: bool, as_json: bool) -> int:
    """Check the whole path from the profile to the browser.

    A line a check says what holds, what fails and why, and the command that mends it. A runtime that is up is looked
    at as it is. Otherwise doctor goes the way of `up` itself and takes it all back; it starts no instance and installs
    nothing. Without PROFILE it looks at this computer.
    """
    from ..commands.doctor.run import doctor as examine
    from ..commands.doctor.run import exit_code
    from ..commands.ui import run_parallel
    from .output import findings

    if force and report_to is None:
        raise UsageError("usage", "--force is for --report")
    view = terminal(quiet, verbose, as_json, transient=True)
    cancelled = threading.Event()
    printer = findings.FindingsPrinter(quiet=quiet, verbose=verbose)

    def show(finding: Finding) -> None:
        view.pause()
        if not as_json:
            printer.show(finding)

    job = functools.partial(
        examine,
        profile,
        found=show,
        report_to=report_to,
        force=force,
        state=state(),
        environ=dict(os.environ),
        view=view,
        called_off=cancelled,
    )
    result = run_parallel({"doctor": job}, view, cancelled)["doctor"]
    view.pause()
    printer.flush()
    if isinstance(result, Exception):
        raise result
    if as_json:
        console.document({**result, "findings": [asdict(finding) for finding in result["findings"]]})
    elif not quiet:
        findings.summarize(result["findings"])
        if report_to is not None:
            console.say(f"The report is in {report_to}: read it before you post it")
    return exit_code(result["findings"])
