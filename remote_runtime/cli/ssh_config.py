"""`ssh-config`."""

from __future__ import annotations

import functools
from pathlib import Path

import click

from ..core.display_path import display_path
from ..core.errors import UsageError
from .common import OutputOptions, common, name_of, run_jobs
from .completion import profile_names
from .group import ThemedCommand, examples
from .output import console


@click.command(
    name="ssh-config",
    cls=ThemedCommand,
    epilog=examples(
        "ssh-config my-vm              # print the entry",
        "ssh-config my-vm --install    # then: ssh rr-my-vm",
        "ssh-config --remove",
    ),
)
@click.argument("profile", nargs=-1, shell_complete=profile_names)
@click.option("--install", is_flag=True, help="Write the entries where ssh finds them.")
@click.option("--remove", is_flag=True, help="Undo --install for PROFILE or for all.")
@common
def ssh_config(profile: tuple[str, ...], install: bool, remove: bool, output: OutputOptions) -> int:
    """Connect ssh and VS Code to a machine.

    Each profile becomes a host `rr-PROFILE` for ssh, scp, rsync, git and editors. Address, host key and SSH key are
    looked up at each connection, which uses the connection of a running runtime.

    --install writes the entries to ~/.ssh/remote-runtime/config, and one line to ~/.ssh/config that includes it.
    --remove removes both, and leaves the rest of ~/.ssh/config as it was.
    """
    if install and remove:
        raise UsageError("usage", "--install and --remove exclude each other")
    if remove:
        return _remove(profile, output)
    if not profile:
        raise UsageError("usage", "ssh-config requires a PROFILE", "", "`remote-runtime profiles list` shows the names")
    from ..commands import ssh_config as command
    from ..commands.profile_reference import load_profile

    context = output.context(show_names=len(profile) > 1)

    def entry(reference: str) -> dict[str, str]:
        return command.config_entry(load_profile(reference, context), context)

    entries, errors = run_jobs({name: functools.partial(entry, name) for name in profile}, context)
    changed = command.install(entries, context.environ) if install and entries else []

    def show() -> None:
        if not install:
            console.answer("\n".join(each["config"] for each in entries).rstrip("\n"))
            return
        if not output.quiet:
            _report(changed, "is up to date")
        for each in entries:
            console.answer(f"ssh {each['host']}")

    document = {"hosts": entries, "installed": install, "changed": [str(path) for path in changed]}
    return output.finish(document, errors, show)


def _remove(profile: tuple[str, ...], output: OutputOptions) -> int:
    from ..commands import ssh_config as command

    context = output.context()
    changed = command.remove([name_of(reference) for reference in profile], context)

    def show() -> None:
        if not output.quiet:
            _report(changed, "has no such entry")

    return output.finish({"changed": [str(path) for path in changed]}, {}, show)


def _report(changed: list[Path], unchanged: str) -> None:
    for path in changed:
        console.say(f"{'Updated' if path.exists() else 'Removed'} {display_path(path)}")
    if not changed:
        console.say(f"~/.ssh/remote-runtime/config {unchanged}.")
