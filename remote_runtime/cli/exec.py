"""`exec`."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..core.errors import Interrupted, RemoteRuntimeError, UsageError
from .common import OutputOptions, common, handle_signals, name_of, run_jobs, with_commands
from .completion import files, live_names
from .default_name import only_running_name
from .group import ThemedCommand, examples
from .output import console

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ..commands.exec import KernelChoice
    from ..commands.kept_outputs import KeptOutputs
    from ..jupyter.program import KernelProgram
    from ..jupyter.program_client import ProgramClient

ARGUMENTS = f"{__name__}.arguments"  # in a context's ``meta``: the words after ``--``
FILE_SUFFIXES = (".py", ".ipynb", ".ipy")


class ExecCommand(ThemedCommand):
    """Words after ``--`` are the program's. The value of ``--new-kernel`` can be left out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        ctx.meta[ARGUMENTS] = tuple(args[end + 1 :])
        words: list[str] = []
        for word in args[:end]:
            if words[-1:] == ["--new-kernel"]:
                takes = not word.startswith("-") and not word.endswith(FILE_SUFFIXES)
                words[-1:] = [f"--new-kernel={word}"] if takes else ["--new-kernel=", word]
            else:
                words.append(word)
        if words[-1:] == ["--new-kernel"]:
            words[-1] = "--new-kernel="
        return super().parse_args(ctx, words)


def _complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [*live_names(ctx, parameter, incomplete), *files(ctx, parameter, incomplete)]


@click.command(
    cls=ExecCommand,
    name="exec",
    epilog=examples(
        'exec my-vm -c "import torch; print(torch.cuda.is_available())"',
        "exec my-vm train.py -- --epochs 3",
        "exec my-vm train.py --detach    # `outputs` shows it later",
    ),
)
@click.argument("words", nargs=-1, metavar="[PROFILE] [FILE | -] [-- ARGS]", shell_complete=_complete)
@click.option("-c", "code", metavar="CODE", help="Run this code instead of a file.")
@click.option("--kernel", default="", metavar="ID", help="Use this running kernel; its id can be cut.")
@click.option("--new-kernel", "spec", metavar="[KERNELSPEC]", help="Use a new kernel; end it afterwards.")
@click.option(
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    shell_complete=files,
    help="Save images and HTML here.",
)
@click.option("--detach", is_flag=True, help="Print an id and leave the code running.")
@common
def exec_(
    words: tuple[str, ...],
    code: str | None,
    kernel: str,
    spec: str | None,
    folder: Path | None,
    detach: bool,
    output: OutputOptions,
) -> int:
    """Run code on the machine.

    Runs Python code in a kernel of a runtime that is ready. stdout, stderr and the exit status are the code's, as with
    `python FILE` there; input() works. You can leave PROFILE out while one runtime is running.

    Calls share the kernel `exec`: its variables stay until `down`. Ctrl-C interrupts the code; a second Ctrl-C leaves
    it running. If remote-runtime itself fails, the exit status is 125.
    """
    from ..commands.exec import KernelChoice, start_program
    from ..commands.kept_outputs import KeptOutputs

    if kernel and spec is not None:
        raise UsageError("usage", "--kernel excludes --new-kernel")
    if detach and folder is not None:
        raise UsageError("usage", "--detach excludes --output", "`remote-runtime outputs` shows the output later")
    profile, program = _program(words, code, detach=detach)
    choice = KernelChoice(kernel, spec is not None, spec or "")
    if not detach:
        return run_and_report(profile, program, choice, KeptOutputs(folder), output)
    from .output.program import TerminalProgram

    context = output.context(transient=True)
    client = TerminalProgram(lambda data: "", context.view.pause)
    start = functools.partial(start_program, name_of(profile), program, choice, client, context)
    (started,), _ = run_jobs({profile: lambda: {"kernel": start().id}}, context)
    if output.as_json:
        console.document({"name": name_of(profile), "run": program.id, **started})
        return 0
    console.answer(program.id)
    if not output.quiet:
        console.say(f"`remote-runtime outputs {name_of(profile)} --run {program.id}` shows its output.")
    return 0


def run_and_report(
    profile: str, program: KernelProgram, choice: KernelChoice, outputs: KeptOutputs, output: OutputOptions
) -> int:
    """Run it to its end. The code's exit status; a failure of remote-runtime itself is raised, which ``--json``
    prints as a line."""
    from ..commands.context import run_parallel
    from ..commands.exec import RunningProgram, run_program
    from .output.program import JsonProgram, TerminalProgram, json_line, restored_terminal

    name, context, running = name_of(profile), output.context(transient=True), RunningProgram()
    client: ProgramClient = (
        JsonProgram(outputs.keep) if output.as_json else TerminalProgram(outputs.keep, context.view.pause)
    )
    if output.as_json:
        json_line("started", name=name, run=program.id)
    handle_signals()
    job = functools.partial(run_program, name, program, choice, client, context, running)
    with restored_terminal():
        try:
            ended = run_parallel({profile: job}, context)[profile]
        except KeyboardInterrupt:
            running.leave()
            hint = f"`remote-runtime outputs {name} --run {program.id}` shows what it prints"
            raise Interrupted("Stopped waiting", "the code is still running", hint) from None
    if isinstance(ended, Exception):
        raise with_commands(ended, profile) if isinstance(ended, RemoteRuntimeError) else ended
    if output.as_json:
        error = ended.error
        fields = {"name": error.name, "value": error.value, "traceback": error.traceback} if error else None
        json_line("ended", status=ended.status, error=fields)
    return ended.status


def _program(words: tuple[str, ...], code: str | None, *, detach: bool) -> tuple[str, KernelProgram]:
    """The profile and the program that the words mean. Raises ``UsageError``, ``LocalError`` ``code-unreadable``."""
    from ..commands.exec import decode_source, read_source
    from ..jupyter.program import KernelProgram

    ctx = click.get_current_context()
    *profile, file = words if code is None else (*words, "")
    if code is None and len(words) == 1 and not (file == "-" or file.endswith(FILE_SUFFIXES)):
        raise UsageError("usage", "Name a file, `-` for standard input, or code after -c")
    if len(profile) > 1:
        raise UsageError(
            "usage",
            f"Unexpected argument: {profile[1] if code is None else words[1]:.80}",
            "",
            "Arguments of the code follow `--`",
        )
    arguments = ctx.meta[ARGUMENTS]
    options = {"arguments": arguments, **({} if detach else terminal())}
    if code is not None:
        program = KernelProgram(code, **options)
    elif file == "-":
        program = KernelProgram(decode_source(sys.stdin.buffer.read(), "Standard input"), label="<stdin>", **options)
    else:
        program = KernelProgram(read_source(Path(file), file), file.replace(os.sep, "/"), **options)
    return (profile or [only_running_name(ctx)])[0], program


def terminal() -> dict[str, dict[str, bool] | dict[str, str]]:
    """What the program may know of the terminal here."""
    tty = {
        name: bool(stream and stream.isatty())
        for name, stream in (("stdin", sys.stdin), ("stdout", sys.stdout), ("stderr", sys.stderr))
    }
    size = shutil.get_terminal_size()
    shown = {"COLUMNS": str(size.columns), "LINES": str(size.lines)} if tty["stdout"] or tty["stderr"] else {}
    return {"tty": tty, "environment": shown}
