"""The options and the output that all commands share."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from ..core.errors import LocalError, RemoteRuntimeError, with_default_hint
from ..core.errors.catalogue import PLACEHOLDER
from ..core.fast_dataclass import fast_dataclass
from .flags import flag_options, given_flags
from .output import console

if TYPE_CHECKING:
    from ..commands.context import CommandContext
    from ..state.store import StateDir
    from .output.progress import TerminalView

F = TypeVar("F", bound=Callable[..., Any])


@fast_dataclass(frozen=True)
class OutputOptions:
    """``-q``, ``-v`` and ``--json``."""

    quiet: bool
    verbose: bool
    as_json: bool

    def view(self, *, show_names: bool = False, transient: bool = False) -> TerminalView:
        from .output.progress import TerminalView

        quiet, plain = self.quiet or self.as_json, self.as_json
        return TerminalView(quiet=quiet, verbose=self.verbose, plain=plain, show_names=show_names, transient=transient)

    def context(self, *, show_names: bool = False, transient: bool = False) -> CommandContext:
        from ..commands.context import CommandContext

        return CommandContext(state(), dict(os.environ), self.view(show_names=show_names, transient=transient))

    def finish(
        self,
        document: Mapping[str, Any],
        errors: Mapping[str, RemoteRuntimeError],
        show: Callable[[], None],
        warnings: Sequence[RemoteRuntimeError] = (),
    ) -> int:
        """Print the result and return the exit code: ``document``, the errors and the warnings as JSON, or what
        ``show`` prints, and the others on stderr. A warning is the failure of an extra that the result works without.
        """
        warnings = [with_default_hint(warning) for warning in warnings]
        if self.as_json:
            warned = {"warnings": [warning.as_dict() for warning in warnings]} if warnings else {}
            console.document({**document, **warned, **_error_document(errors)})
        else:
            show()
            for warning in warnings:
                console.warning(warning)
            for name, error in errors.items():
                console.failure(error, name)
        return max((error.exit_code for error in errors.values()), default=0)


def _error_document(errors: Mapping[str, RemoteRuntimeError]) -> dict[str, Any]:
    if not errors:
        return {}
    documents = {name: error.as_document() for name, error in errors.items()}
    return {"error": next(iter(documents.values())), "errors": documents}


def common(command: F) -> F:
    """Adds ``-q``, ``-v`` and ``--json``, which the command gets as ``output: OutputOptions``.

    With ``-v`` every command first says where it looks.
    """

    @functools.wraps(command)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        flags = given_flags(click.get_current_context())
        output = OutputOptions(*(name in flags for name in ("quiet", "verbose", "as_json")))
        if output.verbose and not output.quiet:
            _show_locations()
        try:
            return command(*arguments, output=output, **options)
        except RemoteRuntimeError as error:
            given = options.get("profile") or ()
            names = [given] if isinstance(given, str) else list(given)
            if len(names) == 1:
                with_commands(error, names[0])
            raise

    # As click.option does it, for options that exist already.
    wrapper.__dict__.setdefault("__click_params__", []).extend(reversed(flag_options()))
    return cast("F", wrapper)


def _show_locations() -> None:
    import platform

    from .._version import __version__
    from ..profiles.search_path import search_dirs
    from ..state import store

    console.say(f"remote-runtime {__version__}, Python {platform.python_version()}")
    console.say(f"State: {store.state_dir_path(os.environ)}")
    folders = dict.fromkeys(str(place.path) for place in search_dirs(os.environ, Path.cwd()))
    console.say(f"Profiles: {', '.join(folders)}")


def handle_signals(*more: str) -> None:
    """Let SIGTERM, and the signals named in ``more`` that this system has, interrupt the command as Ctrl-C does. A
    signal that the caller ignores (nohup) stays ignored."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for name in ("SIGTERM", *more):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)


def state() -> StateDir:
    from ..state import store

    return store.open_state_dir(os.environ)


def name_of(reference: str) -> str:
    """The runtime's name, also when the path of its profile was given."""
    from .. import profiles

    return profiles.name_of(reference)


def copy_url(url: str, output: OutputOptions) -> dict[str, RemoteRuntimeError]:
    """Copy the URL to the clipboard. Returns the error (``no-clipboard``) by option."""
    from ..commands import desktop

    try:
        by_terminal = desktop.copy(url, os.environ)
    except LocalError as error:
        error.hint = f"{error.hint}, or copy the URL by hand" if error.hint else "Copy the URL by hand"
        return {"copy": error}
    if not (output.quiet or output.as_json):
        console.say("Sent the URL to your terminal's clipboard." if by_terminal else "Copied the URL to the clipboard.")
    return {}


def run_jobs(
    jobs: Mapping[str, Callable[[], dict[str, Any]]], context: CommandContext
) -> tuple[list[dict[str, Any]], dict[str, RemoteRuntimeError]]:
    """Run all jobs at once: the results, and the errors by name. Raises the error of an only job, and bugs."""
    from ..commands.context import run_parallel

    results = run_parallel(jobs, context)
    done, errors = [], {}
    for name, result in results.items():
        if isinstance(result, dict):
            done.append(result)
        elif isinstance(result, RemoteRuntimeError):
            errors[name] = with_commands(result, name)
        else:
            raise result
    if len(jobs) == 1:
        for error in errors.values():
            raise error
    return done, errors


def with_commands(error: RemoteRuntimeError, name: str) -> RemoteRuntimeError:
    """``error`` with a hint whose commands work for the profile, or the runtime, of this name or path."""
    from ..commands.profile_reference import profile_reference
    from ..state import store

    error = with_default_hint(error)
    if PLACEHOLDER in error.why + error.hint:
        state_dir = store.StateDir(store.state_dir_path(os.environ))
        error = with_default_hint(error, profile_reference(name, state_dir, os.environ))
    return error
