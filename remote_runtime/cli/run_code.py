"""Runs code for `exec` and `run`: passes on its output and input, and reports how it ended."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..core.errors import Interrupted, RemoteRuntimeError, UsageError
from ..core.fast_dataclass import fast_dataclass
from .common import F, OutputOptions, handle_signals, name_of, with_commands
from .completion import files

if TYPE_CHECKING:
    from ..commands.exec import KernelChoice, NotebookJob
    from ..commands.kept_outputs import KeptOutputs
    from ..jupyter.notebook_run import NotebookEnd
    from ..jupyter.program import KernelProgram
    from ..jupyter.program_client import ProgramClient, ProgramEnd

FILE_SUFFIXES = (".py", ".ipynb", ".ipy")


@fast_dataclass(frozen=True)
class NotebookOptions:
    in_place: bool
    target: Path | None
    allow_errors: bool


def code_options(command: F) -> F:
    """Adds ``--output`` as ``folder``, and the options of ``NotebookOptions``."""
    file = click.Path(dir_okay=False, path_type=Path)
    folder = click.Path(file_okay=False, path_type=Path)
    for option in (
        click.option("--allow-errors", is_flag=True, help="Continue a notebook after errors."),
        click.option("-o", "target", type=file, metavar="FILE", shell_complete=files, help="Write the notebook here."),
        click.option("--in-place", is_flag=True, help="Write outputs into the notebook itself."),
        click.option(
            "--output", "folder", type=folder, metavar="DIR", shell_complete=files, help="Save images and HTML here."
        ),
    ):
        command = option(command)
    return command


def load_code(
    file: str, code: str | None, arguments: tuple[str, ...], notebook: NotebookOptions, *, has_terminal: bool = True
) -> KernelProgram | NotebookJob:
    """``file``: its path, or ``-``. Raises ``UsageError``, ``LocalError`` ``code-unreadable``."""
    from ..commands.exec import NotebookJob, decode_source, read_source
    from ..jupyter.notebook_file import read_notebook
    from ..jupyter.program import KernelProgram

    if notebook.in_place and notebook.target is not None:
        raise UsageError("usage", "--in-place excludes -o")
    if code is None and file.endswith(".ipynb"):
        if arguments:
            raise UsageError("usage", "A notebook has no arguments")
        target = Path(file) if notebook.in_place else notebook.target
        return NotebookJob(read_notebook(Path(file)), target, notebook.allow_errors)
    if notebook.in_place or notebook.target is not None or notebook.allow_errors:
        raise UsageError("usage", "--in-place, -o and --allow-errors are for notebooks")
    options: dict[str, Any] = {"arguments": arguments, **(_terminal() if has_terminal else {})}
    if code is not None:
        return KernelProgram(code, **options)
    if file == "-":
        return KernelProgram(decode_source(sys.stdin.buffer.read(), "Standard input"), label="<stdin>", **options)
    return KernelProgram(read_source(Path(file), file), file.replace(os.sep, "/"), **options)


def run_and_report(
    profile: str,
    code: KernelProgram | NotebookJob,
    choice: KernelChoice,
    outputs: KeptOutputs,
    output: OutputOptions,
    *,
    stays: bool = True,
) -> int:
    """The code's exit status. ``stays``: the runtime, for code that the user leaves. Raises the failures of
    remote-runtime itself; ``Interrupted`` if the user has left."""
    from ..commands.context import run_parallel
    from ..commands.exec import RunningCode, run_code
    from .output.program import JsonProgram, TerminalProgram, json_line, restored_terminal

    name, context, running = name_of(profile), output.context(transient=True), RunningCode()
    run_id = getattr(code, "id", None)
    client: ProgramClient = TerminalProgram(outputs.keep, context.view.pause)
    if output.as_json:
        client = JsonProgram(outputs.keep)
        json_line("started", name=name, run=run_id)
    handle_signals()
    job = functools.partial(run_code, name, code, choice, client, context, running)
    with restored_terminal():
        try:
            ended = run_parallel({profile: job}, context)[profile]
        except KeyboardInterrupt:
            running.leave()
            if not stays:
                raise
            hint = f"`remote-runtime outputs {name}{f' --run {run_id}' if run_id else ''}` shows what it prints"
            raise Interrupted("Stopped waiting", "the code is still running", hint) from None
    if isinstance(ended, Exception):
        raise with_commands(ended, profile) if isinstance(ended, RemoteRuntimeError) else ended
    if output.as_json:
        json_line("ended", **_ended(ended))
    return ended.status


def _ended(end: ProgramEnd | NotebookEnd) -> dict[str, Any]:
    from ..jupyter.notebook_run import NotebookEnd

    if isinstance(end, NotebookEnd):
        return {"status": end.status, "cells": end.cells, "failed": end.failed}
    error = end.error
    fields = {"name": error.name, "value": error.value, "traceback": error.traceback} if error else None
    return {"status": end.status, "error": fields}


def _terminal() -> dict[str, dict[str, bool] | dict[str, str]]:
    """What the program may know of the terminal here."""
    tty = {
        name: bool(stream and stream.isatty())
        for name, stream in (("stdin", sys.stdin), ("stdout", sys.stdout), ("stderr", sys.stderr))
    }
    size = shutil.get_terminal_size()
    shown = {"COLUMNS": str(size.columns), "LINES": str(size.lines)} if tty["stdout"] or tty["stderr"] else {}
    return {"tty": tty, "environment": shown}
