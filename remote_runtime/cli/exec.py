"""`exec`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..core.errors import UsageError
from .common import OutputOptions, common, name_of, run_jobs
from .completion import files, live_names
from .default_name import only_running_name
from .group import ThemedCommand, examples
from .output import console
from .run_code import FILE_SUFFIXES, NotebookOptions, code_options, load_code, run_and_report

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ..commands.exec import KernelChoice, NotebookJob
    from ..jupyter.program import KernelProgram

ARGUMENTS = f"{__name__}.arguments"  # in a context's ``meta``: the words after ``--``


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


def program_arguments() -> tuple[str, ...]:
    """Of the present command."""
    arguments: tuple[str, ...] = click.get_current_context().meta[ARGUMENTS]
    return arguments


def _complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [*live_names(ctx, parameter, incomplete), *files(ctx, parameter, incomplete)]


@click.command(
    cls=ExecCommand,
    name="exec",
    epilog=examples(
        'exec my-vm -c "import torch; print(torch.cuda.is_available())"',
        "exec my-vm train.py -- --epochs 3",
        "exec my-vm train.py --detach            # see `outputs`",
        "exec my-vm report.ipynb --in-place      # with its outputs",
    ),
)
@click.argument("words", nargs=-1, metavar="[PROFILE] [FILE | -] [-- ARGS]", shell_complete=_complete)
@click.option("-c", "code", metavar="CODE", help="Run this code instead of a file.")
@click.option("--kernel", default="", metavar="ID", help="Use this running kernel; its id can be cut.")
@click.option("--new-kernel", "spec", metavar="[KERNELSPEC]", help="Use a new kernel; end it afterwards.")
@code_options
@click.option("--detach", is_flag=True, help="Print an id and leave the code running.")
@common
def exec_(
    words: tuple[str, ...],
    code: str | None,
    kernel: str,
    spec: str | None,
    folder: Path | None,
    in_place: bool,
    target: Path | None,
    allow_errors: bool,
    detach: bool,
    output: OutputOptions,
) -> int:
    """Run code on the machine.

    Runs Python code in a kernel of a runtime that is ready. stdout, stderr and the exit status are the code's, as with
    `python FILE` there; input() works. You can leave PROFILE out while one runtime is running.

    FILE.ipynb is executed cell by cell; --in-place or -o writes it with its outputs. It stops at the first error, with
    exit status 1.

    Calls share the kernel `exec`: its variables stay until `down`. Ctrl-C interrupts the code; a second Ctrl-C leaves
    it running. If remote-runtime itself fails, the exit status is 125.
    """
    from ..commands.exec import KernelChoice
    from ..commands.kept_outputs import KeptOutputs

    if kernel and spec is not None:
        raise UsageError("usage", "--kernel excludes --new-kernel")
    if detach and folder is not None:
        raise UsageError("usage", "--detach excludes --output", "`remote-runtime outputs` shows the output later")
    profile, file = _profile_and_file(words, code)
    notebook = NotebookOptions(in_place, target, allow_errors)
    loaded = load_code(file, code, program_arguments(), notebook, has_terminal=not detach)
    choice = KernelChoice(kernel, spec is not None, spec or "")
    if detach:
        return _detach(profile, loaded, choice, output)
    return run_and_report(profile, loaded, choice, KeptOutputs(folder), output)


def _detach(profile: str, code: KernelProgram | NotebookJob, choice: KernelChoice, output: OutputOptions) -> int:
    from ..commands.exec import NotebookJob, start_program
    from .output.program import TerminalProgram

    if isinstance(code, NotebookJob):
        raise UsageError("usage", "--detach is for Python files and code, not for notebooks")
    name, context = name_of(profile), output.context(transient=True)
    client = TerminalProgram(lambda data: "", context.view.pause)
    start = functools.partial(start_program, name, code, choice, client, context)
    (started,), _ = run_jobs({profile: lambda: {"kernel": start().id}}, context)
    if output.as_json:
        console.document({"name": name, "run": code.id, **started})
        return 0
    console.answer(code.id)
    if not output.quiet:
        console.say(f"`remote-runtime outputs {name} --run {code.id}` shows its output.")
    return 0


def _profile_and_file(words: tuple[str, ...], code: str | None) -> tuple[str, str]:
    """What the words mean. Raises ``UsageError``, ``LocalError`` ``not-up``."""
    *profile, file = words if code is None and words else (*words, "")
    if code is None and (not file or (len(words) == 1 and not (file == "-" or file.endswith(FILE_SUFFIXES)))):
        raise UsageError("usage", "Name a file, `-` for standard input, or code after -c")
    if len(profile) > 1:
        extra = profile[1] if code is not None else file
        raise UsageError("usage", f"Unexpected argument: {extra:.80}", "", "Arguments of the code follow `--`")
    return (profile or [only_running_name(click.get_current_context())])[0], file
