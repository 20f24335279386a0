"""`run`."""

from __future__ import annotations

import functools
from pathlib import Path

import click

from ..core.errors import UsageError
from .common import OutputOptions, common, handle_signals, run_jobs
from .completion import files, profile_names
from .exec import ExecCommand, program_arguments
from .group import examples
from .output import console
from .run_code import NotebookOptions, code_options, load_code, run_and_report


@click.command(
    cls=ExecCommand,
    epilog=examples(
        "run my-vm train.py -- --epochs 3",
        "run my-vm report.ipynb --in-place",
    ),
)
@click.argument("profile", shell_complete=profile_names)
@click.argument("file", metavar="FILE [-- ARGS]", shell_complete=files)
@code_options
@click.option("--keep", is_flag=True, help="Keep the runtime running afterwards.")
@click.option("--yes", is_flag=True, help="Create or delete the VM without asking.")
@common
def run(
    profile: str,
    file: str,
    folder: Path | None,
    in_place: bool,
    target: Path | None,
    allow_errors: bool,
    keep: bool,
    yes: bool,
    output: OutputOptions,
) -> int:
    """Start a runtime for the time of a file.

    Does `up`, `exec` with a new kernel, and `down` as `on_down` in the profile says. Ctrl-C and failures stop it too. A
    runtime that was running before stays running.

    stdout and the exit status are the code's. Progress goes to stderr. If remote-runtime itself fails, the exit status
    is 125.
    """
    from ..commands.exec import KernelChoice
    from ..commands.kept_outputs import KeptOutputs
    from ..commands.run import is_running, start_for_code, stop_after_code

    if file == "-":
        raise UsageError("usage", "`run` requires a file", "", "`remote-runtime exec` runs code from standard input")
    code = load_code(file, None, program_arguments(), NotebookOptions(in_place, target, allow_errors))
    handle_signals()
    context = output.context()
    stays = keep or is_running(profile, context)
    run_jobs({profile: functools.partial(start_for_code, profile, context, yes=yes)}, context)
    try:
        return run_and_report(profile, code, KernelChoice(new=True), KeptOutputs(folder), output, stays=stays)
    finally:
        if not stays:
            ending = output.context()
            (stopped,), _ = run_jobs({profile: functools.partial(stop_after_code, profile, ending, yes=yes)}, ending)
            if not (output.quiet or output.as_json):
                console.stopped(stopped)
