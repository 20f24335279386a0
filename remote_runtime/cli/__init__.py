"""The command line: builds the collaborators, and turns results and errors into output and exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from .._version import __version__
from ..core.errors import Bug, Interrupted, KeeperBug, RemoteRuntimeError, UsageError, with_default_hint
from . import (
    bridge,
    completion_script,
    cp,
    doctor,
    down,
    exec,
    help,
    kernels,
    logs,
    machine_types,
    open,
    outputs,
    profiles,
    run,
    ssh,
    ssh_config,
    status,
    sync,
)
from . import up as up_command
from .group import OrderedGroup, examples
from .other_names import ALIASES, SUGGESTIONS
from .output import console

OWN_FAILURE = 125  # of commands whose exit status is that of the code that they run
RUNS_CODE = ("exec", "run")
PrintJson = Callable[[Mapping[str, Any]], None]


def main(arguments: Sequence[str] | None = None, command: click.Command | None = None) -> int:
    """Run the command and return the exit code. A bug's traceback goes to a log whose path is shown, not to the
    terminal."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # With standalone_mode off click returns the code of ctx.exit(), or what the command returned.
        code = (command or cli).main(arguments, prog_name="remote-runtime", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        sys.stdout = None  # the reader is gone, and Python would report an error at exit
        return 1
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # the last boundary
        as_json = "--json" in (arguments[: arguments.index("--")] if "--" in arguments else arguments)
        if next((word for word in arguments if not word.startswith("-")), "") not in RUNS_CODE:
            return _report(error, console.document if as_json else None)
        code = _report(error, console.failure_line if as_json else None)
        return code if code == Interrupted.exit_code else OWN_FAILURE


def _report(error: BaseException, print_json: PrintJson | None) -> int:
    if isinstance(error, (click.exceptions.Abort, KeyboardInterrupt)):
        return _report_error(Interrupted(), print_json)
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        hint = f"`{context.command_path if context else 'remote-runtime'} --help` shows the usage"
        return _report_error(UsageError("usage", error.format_message().rstrip("."), hint=hint), print_json)
    if isinstance(error, RemoteRuntimeError):
        return _report_error(error, print_json)
    if isinstance(error, KeeperBug):
        return _report_bug(str(error), print_json)
    if isinstance(error, Exception) and (cause := _open_files_error(error)) is not None:
        return _report_error(cause, print_json)
    return _report_bug(_save_traceback(), print_json)


def _open_files_error(error: Exception) -> RemoteRuntimeError | None:
    from ..core.open_files import reported_shortage

    return reported_shortage(error)


def _report_error(error: RemoteRuntimeError, print_json: PrintJson | None) -> int:
    error = with_default_hint(error)
    if print_json is not None:
        print_json({"error": error.as_document()})
    else:
        console.failure(error)
    return error.exit_code


def _report_bug(log: str, print_json: PrintJson | None) -> int:
    error = Bug("bug", "This is a bug in remote-runtime", log)
    if print_json is not None:
        return _report_error(error, print_json)
    console.bug(log)
    return error.exit_code


def _save_traceback() -> str:
    from ..state import log_file, store

    try:
        path = store.open_state_dir(os.environ).path / "bugs.log"
        log_file.append_private(path, log_file.redact(traceback.format_exc()))
    except (RemoteRuntimeError, OSError) as error:
        return f"it could not be kept ({error}): {traceback.format_exc()}"
    return str(path)


SECTIONS = {
    "Run": (
        *(up_command.up, down.down, open.open_, status.url, ssh.ssh, cp.cp, sync.sync, exec.exec_),
        run.run,
    ),
    "Inspect": (
        *(status.status, logs.logs, outputs.outputs, kernels.kernels, doctor.doctor, machine_types.machine_types),
        help.help_,
    ),
    "Configure": (profiles.profiles, ssh_config.ssh_config, ssh.host_key, bridge.bridge, completion_script.completion),
}


@click.group(
    cls=OrderedGroup,
    aliases=ALIASES,
    suggestions=SUGGESTIONS,
    sections={heading: [str(command.name) for command in commands] for heading, commands in SECTIONS.items()},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "up demo           # try it: no account, no cloud",
        "profiles new      # create a profile for your machine",
        "up my-vm          # start it and print the URL for Colab",
        "doctor my-vm      # find out why something fails",
        "down my-vm        # stop it",
    ),
)
@click.version_option(__version__, "-V", "--version", message="remote-runtime %(version)s", help="Print the version.")
def cli() -> None:
    """Run Google Colab on your own machine: a Compute Engine VM, any SSH host, or this computer.

    A profile names the machine. `up` starts it and prints the URL to paste into Colab. Results go to stdout; progress
    and errors go to stderr.
    """


for command in (*(command for commands in SECTIONS.values() for command in commands), help.version):
    cli.add_command(command)
