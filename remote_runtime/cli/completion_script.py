"""`completion`: prints or installs the script that makes a shell complete the command."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from ..core.display_path import display_path
from ..core.errors import UsageError
from .common import OutputOptions, common
from .group import ThemedCommand, examples
from .output import console

VARIABLE = "_REMOTE_RUNTIME_COMPLETE"


@click.command(
    cls=ThemedCommand,
    epilog=examples(
        "completion zsh --install",
        "completion bash --uninstall",
        "completion fish    # print the script",
    ),
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.option("--install", is_flag=True, help="Write the script where the shell looks.")
@click.option("--uninstall", is_flag=True, help="Undo --install.")
@common
def completion(shell: str, install: bool, uninstall: bool, output: OutputOptions) -> None:
    """Set up shell completion.

    Tab then completes commands, options, profiles and running runtimes. Without --install the script is printed.
    """
    from ..commands import completion as command

    if install and uninstall:
        raise UsageError("usage", "--install and --uninstall exclude each other")
    script, files = _script(shell), command.completion_files(shell, os.environ)
    if not (install or uninstall):
        if output.as_json:
            console.document({"shell": shell, "script": script})
        else:
            console.answer(script.rstrip("\n"))
        return
    changed = command.install(files, script) if install else command.uninstall(files)
    if output.as_json:
        console.document({"shell": shell, "installed": install, "changed": [str(path) for path in changed]})
    elif not output.quiet:
        _report(shell, changed, install=install)


def _script(shell: str) -> str:
    kind = get_completion_class(shell)
    if kind is None:
        raise ValueError(f"click completes no {shell}")
    root = click.get_current_context().find_root()
    return kind(root.command, {}, str(root.info_name), VARIABLE).source().strip() + "\n"


def _report(shell: str, changed: list[Path], *, install: bool) -> None:
    for path in changed:
        console.say(f"{'Updated' if path.exists() else 'Removed'} {display_path(path)}")
    if not changed:
        console.say(f"Completion for {shell} is {'already' if install else 'not'} installed.")
    elif install:
        console.say(f"Open a new {shell} to use it. To undo, run: remote-runtime completion {shell} --uninstall")
