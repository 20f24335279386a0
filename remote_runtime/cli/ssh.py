"""`ssh` and `host-key`."""

from __future__ import annotations

import click

from ..core.errors import UsageError
from ..core.sanitize import clean_line
from .common import OrderedGroup, OutputOptions, common, examples, name_of
from .completion import profile_names
from .output import console

CONNECTION_LOST_EXIT_CODE = 255  # what OpenSSH's client exits with


@click.command(
    epilog=examples(
        "ssh my-vm",
        "ssh my-vm -- nvidia-smi",
    )
)
@click.argument("profile", shell_complete=profile_names)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@common
def ssh(profile: str, command: tuple[str, ...], output: OutputOptions) -> int:
    """A shell on the machine, or one command after `--`.

    With the keys and the verified host key that `up` uses. Exits with the command's own code. With --json the command
    reads nothing, and what it writes is told when it has ended.
    """
    from ..commands.context import run_parallel
    from ..commands.profile_reference import load_profile
    from ..commands.ssh import connect, run_command
    from ..commands.status import require_known_name

    context = output.context()
    line = " ".join(command) or None  # as OpenSSH's client does: the machine's shell reads it
    if output.as_json and line is None:
        require_known_name(profile, context.state, context.environ)
        raise UsageError("usage", "--json tells what one command wrote: a shell has no such answer")

    session = run_parallel({profile: lambda: connect(load_profile(profile, context), context)}, context)[profile]
    if isinstance(session, Exception):
        raise session
    try:
        if output.as_json and line is not None:
            result = run_command(line, session, context.cancelled)
            console.document({"name": name_of(profile), **result})
            return CONNECTION_LOST_EXIT_CODE if result["status"] is None else int(result["status"])
        return int(session.shell(line))
    finally:
        session.close()


@click.group(cls=OrderedGroup, name="host-key")
def host_key() -> None:
    """The host keys of machines that are pinned here."""


@host_key.command()
@click.argument("profile", shell_complete=profile_names)
@common
def show(profile: str, output: OutputOptions) -> None:
    """The pins of a profile's machine."""
    _show_pins(profile, output, forget=False)


@host_key.command()
@click.argument("profile", shell_complete=profile_names)
@common
def forget(profile: str, output: OutputOptions) -> None:
    """Forget the pins of a profile's machine.

    Only for a machine that you know was made anew: at the next connection it is verified as if seen for the first time.
    """
    _show_pins(profile, output, forget=True)


def _show_pins(profile: str, output: OutputOptions, *, forget: bool) -> None:
    from ..commands.profile_reference import load_profile
    from ..commands.ssh import pinned_host_keys

    context = output.context()
    try:
        found = pinned_host_keys(load_profile(profile, context), context, forget=forget)
    finally:
        context.view.pause()
    if output.as_json:
        console.document(found)
        return
    host = clean_line(found["host"], 300)
    if not host:
        console.answer(f"{found['name']} runs on this computer, which needs no host key.")
    elif not found["pins"]:
        console.answer(f"No host key of {host} is pinned here.")
    else:
        rows = [(pin["type"], pin["fingerprint"]) for pin in found["pins"]]
        console.answer(f"{host}{' (forgotten)' if forget else ''}\n{console.table(('TYPE', 'FINGERPRINT'), rows)}")
