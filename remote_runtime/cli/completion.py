"""Completes names of profiles and runtimes, and paths, in the shell. Prints no errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from click import Context, Parameter
from click.shell_completion import CompletionItem

from ..core.errors import RemoteRuntimeError

if TYPE_CHECKING:
    from ..state.store import StateDir

NamedItem = tuple[str, str]  # a name, and what zsh and fish show beside it
Completer = Callable[[Context, Parameter, str], list[CompletionItem]]


def profile_names(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of all profiles, or files if a path is begun."""
    return _items(context, parameter, incomplete, _profiles)


def runtime_names(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """Runtimes that are up, or of which something is left."""
    return _items(context, parameter, incomplete, lambda: _runtimes(lambda state, name: True))


def live_names(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """Runtimes that are up now."""
    from ..state import store

    return _items(context, parameter, incomplete, lambda: _runtimes(store.is_alive))


def logged_names(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """Names that have a log, up or not."""
    return _items(context, parameter, incomplete, _logs)


def files(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


def _items(
    context: Context, parameter: Parameter, incomplete: str, find: Callable[[], Iterable[NamedItem]]
) -> list[CompletionItem]:
    if incomplete.startswith((".", "~")) or os.sep in incomplete:
        return files(context, parameter, incomplete)
    chosen = context.params.get(parameter.name or "") or ()
    try:
        found = list(find())
    except (RemoteRuntimeError, OSError):
        return []  # a message would land in the line that is being typed
    return [
        CompletionItem(name, help=words)
        for name, words in found
        if name.startswith(incomplete) and (parameter.nargs == 1 or name not in chosen)
    ]


def _profiles() -> Iterable[NamedItem]:
    from .. import profiles

    return profiles.profile_paths(os.environ, Path.cwd()).items()


def _runtimes(wanted: Callable[[StateDir, str], bool]) -> Iterable[NamedItem]:
    from ..state import store

    state = store.open_state_dir(os.environ)
    for name in store.list_names(state):
        if wanted(state, name):
            yield name, "up" if store.is_alive(state, name) else "something of it is left"


def _logs() -> Iterable[NamedItem]:
    from ..state import store

    state = store.open_state_dir(os.environ)
    up = set(store.list_names(state))
    logs = {path.stem for path in state.path.glob("*.log")} - {"bugs"}
    yield from (
        (name, "up" if name in up else "down") for name in sorted(logs, key=lambda name: (name not in up, name))
    )
