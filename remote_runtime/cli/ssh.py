"""`ssh` and `host-key`."""

from __future__ import annotations

import functools
import os
import threading

import click

from ..core.errors import RemoteRuntimeError, UsageError, with_default_hint
from ..core.sanitize import clean_line
from .common import OrderedGroup, common, examples, name_of, state, terminal
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
def ssh(profile: str, command: tuple[str, ...], quiet: bool, verbose: bool, as_json: bool) -> int:
    """A shell on the machine, or one command after `--`.

    With the keys and the verified host key that `up` uses. Exits with the command's own code. With --json the command
    reads nothing, and what it writes is told when it has ended.
    """
    from ..commands.ssh import connect, run_command
    from ..commands.status import require_known_name
    from ..commands.ui import run_parallel

    view = terminal(quiet, verbose, as_json)
    cancelled = threading.Event()
    line = " ".join(command) or None  # as OpenSSH's client does: the machine's shell reads it
    if as_json and line is None:
        require_known_name(profile, state(), os.environ)
        raise UsageError("usage", "--json tells what one command wrote: a shell has no such answer")

    job = functools.partial(connect, profile, state=state(), environ=dict(os.environ), view=view, called_off=cancelled)
    session = run_parallel({profile: job}, view, cancelled)[profile]
    view.pause()
    if isinstance(session, RemoteRuntimeError):
        raise with_default_hint(session, profile)
    if isinstance(session, Exception):
        raise session
    try:
        if as_json and line is not None:
            result = run_command(line, session, cancelled)
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
def show(profile: str, quiet: bool, verbose: bool, as_json: bool) -> None:
    """The pins of a profile's machine."""
    _show_pins(profile, quiet, verbose, as_json, forget=False)


@host_key.command()
@click.argument("profile", shell_complete=profile_names)
@common
def forget(profile: str, quiet: bool, verbose: bool, as_json: bool) -> None:
    """Forget the pins of a profile's machine.

    Only for a machine that you know was made anew: at the next connection it is verified as if seen for the first time.
    """
    _show_pins(profile, quiet, verbose, as_json, forget=True)


def _show_pins(profile: str, quiet: bool, verbose: bool, as_json: bool, *, forget: bool) -> None:
    from ..commands.ssh import pinned_host_keys

    view = terminal(quiet, verbose, as_json)
    try:
        found = pinned_host_keys(profile, forget=forget, state=state(), environ=dict(os.environ), view=view)
    finally:
        view.pause()
    if as_json:
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
