"""`ssh` and `host-key`."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack, closing

import click

from ..core.errors import RemoteRuntimeError, UsageError
from ..core.sanitize import clean_line
from .common import OutputOptions, common, name_of, state, with_commands
from .completion import profile_names
from .default_name import runtime_argument
from .group import OrderedGroup, ThemedCommand, examples
from .output import console

CONNECTION_LOST_EXIT_CODE = 255  # what OpenSSH's client exits with


class SshCommand(ThemedCommand):
    """Words after ``--`` are the command, also where no profile comes before it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before = args[: args.index("--")] if "--" in args else args
        if len(before) < len(args) and all(word.startswith("-") for word in before):
            args = [*before, "--", "", *args[len(before) + 1 :]]
        return super().parse_args(ctx, args)


@click.command(
    cls=SshCommand,
    epilog=examples(
        "ssh",
        "ssh my-vm",
        "ssh my-vm -- nvidia-smi",
    ),
)
@runtime_argument(profile_names)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--stdio", is_flag=True, help="Connect stdin and stdout to the SSH server.")
@common
def ssh(profile: str, command: tuple[str, ...], stdio: bool, output: OutputOptions) -> int:
    """Open a shell or run a command over SSH.

    Uses the keys and the pinned host key of `up`, and exits with the command's exit code. You can leave PROFILE out
    while one runtime is running. With --json the command gets no input, and its output is printed when it ends; it uses
    the connection of a running runtime, without another login.
    --stdio is the ProxyCommand of other SSH clients, as `ssh-config` sets it up.
    """
    if stdio:
        return _connect_stdio(profile, command, output)
    from ..commands.context import run_parallel
    from ..commands.machine import open_machine
    from ..commands.profile_reference import load_profile
    from ..commands.ssh import connect, run_command
    from ..commands.status import require_known_name

    context = output.context()
    line = " ".join(command) or None  # as OpenSSH's client does: the machine's shell reads it
    if output.as_json and line is None:
        require_known_name(profile, context.state, context.environ)
        raise UsageError("usage", "--json requires a command after --")

    if output.as_json and line is not None:
        with ExitStack() as stack:
            jobs = {profile: lambda: stack.enter_context(open_machine(load_profile(profile, context), context))}
            machine = run_parallel(jobs, context)[profile]
            if isinstance(machine, Exception):
                raise machine
            result = run_command(line, machine.run, context.cancelled)
        console.document({"name": name_of(profile), **result})
        return CONNECTION_LOST_EXIT_CODE if result["status"] is None else int(result["status"])

    session = run_parallel({profile: lambda: connect(load_profile(profile, context), context)}, context)[profile]
    if isinstance(session, Exception):
        raise session
    with closing(session):
        return int(session.shell(line))


def _connect_stdio(profile: str, command: tuple[str, ...], output: OutputOptions) -> int:
    """What goes wrong is reported on stderr: stdout is the SSH server's."""
    from ..commands.context import CommandContext, run_parallel
    from ..commands.profile_reference import load_profile
    from ..commands.ssh_stdio import open_ssh_server
    from .output.controlling_terminal import ControllingTerminalView

    try:
        if command or output.as_json:
            raise UsageError("usage", "--stdio excludes --json and a command")
        view = ControllingTerminalView(verbose=output.verbose)
        context = CommandContext(state(), dict(os.environ), view)
        jobs = {profile: lambda: open_ssh_server(load_profile(profile, context), context)}
        connection = run_parallel(jobs, context)[profile]
        if isinstance(connection, Exception):
            raise connection
        if sys.stdin is None or not sys.stdin.isatty():
            # Ctrl-C is for the SSH client, or for another one that shares its connection.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        connection.relay()
    except RemoteRuntimeError as error:
        console.failure(with_commands(error, profile))
        return CONNECTION_LOST_EXIT_CODE
    return 0


@click.group(cls=OrderedGroup, name="host-key")
def host_key() -> None:
    """Manage pinned host keys."""


@host_key.command()
@runtime_argument(profile_names)
@common
def show(profile: str, output: OutputOptions) -> None:
    """Show the pinned host keys of a machine."""
    _show_pins(profile, output, forget=False)


@host_key.command()
@runtime_argument(profile_names)
@common
def forget(profile: str, output: OutputOptions) -> None:
    """Forget the pinned host keys of a machine.

    Only for a machine that you know was recreated. The next connection verifies its host key as for a new machine.
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
        console.answer(f"{found['name']} runs on this computer, which requires no host key.")
    elif not found["pins"]:
        console.answer(f"No host key of {host} is pinned.")
    else:
        rows = [(pin["type"], pin["fingerprint"]) for pin in found["pins"]]
        console.answer(f"{host}{' (forgotten)' if forget else ''}\n{console.table(('TYPE', 'FINGERPRINT'), rows)}")
