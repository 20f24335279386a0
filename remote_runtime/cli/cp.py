"""`cp`."""

from __future__ import annotations

import click

from ..core.errors import LocalError
from .common import OutputOptions, common
from .completion import files
from .group import ThemedCommand, examples
from .output import console


@click.command(
    cls=ThemedCommand,
    epilog=examples(
        "cp data.csv my-vm:             # into your home folder there",
        "cp -r my-vm:results ./results",
        "cp 'my-vm:logs/*.txt' .",
    ),
)
@click.argument("sources", nargs=-1, required=True, metavar="SRC…", shell_complete=files)
@click.argument("target", metavar="DST", shell_complete=files)
@click.option("-r", "--recursive", is_flag=True, help="Copy folders with all that is in them.")
@click.option("--resume", is_flag=True, help="Continue a copy that was interrupted.")
@common
def cp(sources: tuple[str, ...], target: str, recursive: bool, resume: bool, output: OutputOptions) -> int:
    """Copy files to or from the machine.

    NAME:PATH is a path on the machine of the profile NAME; it begins in your home folder there. Paths such as ./a:b
    and C:\\x are on this computer. Uses the connection of the runtime if it is running, or its own. Keeps modes, times
    and symbolic links. --resume keeps what an interrupted copy has left, if its hash is right.
    """
    from ..commands.context import run_parallel
    from ..commands.cp import CopyResult, copy
    from .output.copying import CopyMeter, show_copied

    context = output.context(transient=True)
    name = (target if ":" in target else sources[0]).partition(":")[0]
    meter = CopyMeter(context.view, name)

    def work() -> CopyResult:
        return copy(sources, target, context, recursive=recursive, resume=resume, on_progress=meter)

    result = run_parallel({name: work}, context)[name]
    if isinstance(result, Exception):
        raise result
    errors = {}
    if result.failed:
        count = len(result.failed)
        what = "1 file was not copied" if count == 1 else f"{count} files were not copied"
        errors[result.name] = LocalError("copy-incomplete", what)
    document = {
        "name": result.name,
        "files": result.files,
        "bytes": result.bytes,
        "seconds": round(result.seconds, 3),
        "failed": [{"path": each.path, "why": each.why} for each in result.failed],
    }

    def show() -> None:
        if not output.quiet:
            show_copied(result)
        for each in result.failed:
            console.warn(f"{each.path}: {each.why}")

    return output.finish(document, errors, show)
