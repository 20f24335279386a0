"""Which runtime or profile a command means when none is named: the only one, or none."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..core.errors import Interrupted, LocalError, UsageError
from .common import F, OutputOptions, state
from .completion import Completer, live_names, logs

if TYPE_CHECKING:
    from .output.progress import TerminalView


def running_names() -> list[str]:
    from ..state import store

    state_dir = state()
    return [name for name in store.list_names(state_dir) if store.is_alive(state_dir, name)]


def running_or_logged() -> list[str]:
    """The runtimes that are running; if there are none, those that have a log."""
    return running_names() or [name for name, _ in logs()]


def runtime_argument(
    shell_complete: Completer = live_names,
    *,
    required: bool = True,
    find: Callable[[], list[str]] = running_names,
) -> Callable[[F], F]:
    """The argument ``profile``; without one, the only name that ``find`` returns. Where it returns none or several: an
    error, or None if the argument is not ``required``."""

    def only_name(context: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
        if given or context.resilient_parsing:
            return given
        names = find()
        if len(names) == 1 or not required:
            return names[0] if len(names) == 1 else None
        return _only(names, context)

    return click.argument("profile", required=False, shell_complete=shell_complete, callback=only_name)


def only_running_name(context: click.Context) -> str:
    """Raises ``LocalError`` ``not-up`` if nothing is running, and ``UsageError`` if several runtimes are."""
    return _only(running_names(), context)


def profile_to_start(output: OutputOptions) -> str:
    """The user's only profile, if they agree. Raises ``UsageError``, and ``Interrupted`` if they do not."""
    from ..profiles.search_path import profile_files

    found = profile_files(os.environ, Path.cwd())
    own = list(dict.fromkeys(path.stem for place, path in found if place.origin in ("environment", "user")))
    view = output.view()
    if len(own) > 1:
        raise _several("profiles", own, "remote-runtime up")
    if not own:
        why = "you have no profile of your own yet"
        hint = "`remote-runtime profiles new` creates one; `remote-runtime up demo` tries the demo"
        raise UsageError("usage", "Name the profile to start", why, hint)
    if not view.interactive:
        raise UsageError("usage", "Name the profile to start", "", f"`remote-runtime up {own[0]}`")
    if not _confirmed(view, f"Start {own[0]}? [Y/n] ", default=True):
        raise Interrupted("Nothing was started")
    return own[0]


def runtimes_to_stop(output: OutputOptions) -> list[str]:
    """The only runtime, if the user agrees to stop it; nothing if there is none. Raises ``UsageError`` where several
    are possible or there is no terminal."""
    from ..state import store

    names = store.list_names(state())
    view = output.view()
    if not view.interactive:
        hint = "`remote-runtime status` lists them"
        raise UsageError("usage", "Name the runtimes to stop, or use --all", _listed(names), hint)
    if len(names) > 1:
        raise _several("runtimes", names, "remote-runtime down", "; --all stops them all")
    if names and not _confirmed(view, f"Stop {names[0]}? [y/N] ", default=False):
        raise Interrupted("Nothing was stopped")
    return names


def _only(names: Sequence[str], context: click.Context) -> str:
    if not names:
        raise LocalError("not-up", "No runtimes running", "", "Start one with `remote-runtime up PROFILE`")
    if len(names) > 1:
        raise _several("running", names, context.command_path)
    return names[0]


def _several(what: str, names: Sequence[str], command: str, more: str = "") -> UsageError:
    return UsageError("usage", "Name one of several", f"{what}: {', '.join(names)}", f"`{command} {names[0]}`{more}")


def _confirmed(view: TerminalView, question: str, *, default: bool) -> bool:
    try:
        answer = view.read_line(question).strip().lower()
    except EOFError:
        return False
    return answer in ("y", "yes") or (default and not answer)


def _listed(names: Sequence[str]) -> str:
    return f"running: {', '.join(names)}" if names else ""
