"""`outputs`."""

from __future__ import annotations

from pathlib import Path

import click

from ..core.errors import UsageError
from .common import OutputOptions, common, name_of
from .completion import files, live_names
from .default_name import runtime_argument
from .group import ThemedCommand, examples
from .output import console


@click.command(
    cls=ThemedCommand,
    epilog=examples(
        "outputs my-vm",
        "outputs my-vm --follow",
        "outputs my-vm --notebook away.ipynb    # for Colab or Jupyter",
    ),
)
@runtime_argument(live_names)
@click.option("--kernel", default="", metavar="ID", help="Only this kernel; its id can be cut.")
@click.option("--run", default="", metavar="ID", help="Only the code that `exec --detach` started.")
@click.option(
    "--notebook",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    shell_complete=files,
    help="Write a notebook instead.",
)
@click.option("--force", is_flag=True, help="Overwrite the notebook file.")
@click.option("-f", "--follow", is_flag=True, help="Print new outputs until Ctrl-C.")
@common
def outputs(
    profile: str, kernel: str, run: str, notebook: Path | None, force: bool, follow: bool, output: OutputOptions
) -> None:
    """Show what cells printed without a page.

    You can leave PROFILE out while one runtime is running. While no page is connected to a kernel, its outputs are
    recorded on the machine: up to 200 MB for each kernel, until `down`. --notebook writes them with their code.
    """
    from ..commands.outputs import outputs_document, outputs_of_run, recorded_outputs, run_document, write_notebook

    if follow and (output.as_json or notebook is not None):
        raise UsageError("usage", "--follow excludes --json and --notebook", "they have an end")
    if force and notebook is None:
        raise UsageError("usage", "--force requires --notebook")
    if run and (kernel or follow):
        raise UsageError("usage", "--run excludes --kernel and --follow")
    name, context = name_of(profile), output.context()
    if notebook is not None:
        cells = write_notebook(name, context, notebook, kernel=kernel, force=force, run=run)
        if output.as_json:
            console.document({"name": name, "notebook": str(notebook), "cells": cells})
        elif not output.quiet:
            console.say(f"Wrote {'1 cell' if cells == 1 else f'{cells} cells'} to {notebook}")
        return
    if output.as_json:
        document = run_document(name, context, run) if run else outputs_document(name, context, kernel=kernel)
        console.document(document)
        return
    from .output.recorded import OutputPrinter, show_kernels

    if run:
        printer = OutputPrinter(several_kernels=False)
        with outputs_of_run(name, context, run) as events:
            for event in events:
                printer.show(event)
            printer.end()
        if not output.quiet:
            status = f"It ended with exit status {events.status}." if events.status is not None else "It has not ended."
            console.say(status, "detail")
        return

    with recorded_outputs(name, context, kernel=kernel, follow=follow) as record:
        if not output.quiet:
            show_kernels(record.kernels, record.paused)
            if not follow and not any(each.requests for each in record.kernels):
                console.say(f"No outputs of {name} are recorded.")
        printer = OutputPrinter(several_kernels=len(record.kernels) > 1 or follow)
        for event in record.events:
            printer.show(event)
        printer.end()
