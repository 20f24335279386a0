"""Completes names of profiles and runtimes, and paths, in the shell. Prints no errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from click import Context, Parameter
from click.shell_completion import CompletionItem

from ..core.display_path import display_path
from ..core.errors import RemoteRuntimeError

Completer = Callable[[Context, Parameter, str], list[CompletionItem]]


def files(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


def _completer(find: Callable[[], Iterable[tuple[str, str]]]) -> Completer:
    """``find``: the names, each with the text that zsh and fish show beside it. A path is completed as a file."""

    def complete(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith((".", "~")) or os.sep in incomplete:
            return files(context, parameter, incomplete)
        chosen = context.params.get(parameter.name or "") or ()
        try:
            found = list(find())
        except (RemoteRuntimeError, OSError):
            return []  # a message would land in the line that is being typed
        return [
            CompletionItem(name, help=text.replace(",", " "))  # fish cuts it at a comma
            for name, text in found
            if name.startswith(incomplete) and (parameter.nargs == 1 or name not in chosen)
        ]

    return complete


def _profiles() -> Iterable[tuple[str, str]]:
    from .. import profiles

    for name, path in profiles.profile_paths(os.environ, Path.cwd()).items():
        yield name, display_path(Path(path))


def _runtimes() -> Iterable[tuple[str, str]]:
    from ..state import store

    state = store.open_state_dir(os.environ)
    for name in store.list_names(state):
        yield name, UP if store.is_alive(state, name) else "not cleaned up"


def logs() -> Iterable[tuple[str, str]]:
    from ..state import store

    state = store.open_state_dir(os.environ)
    names = set(store.list_names(state))
    logs = {path.stem for path in state.path.glob("*.log")} - {"bugs"}
    yield from (
        (name, UP if name in names else "not running")
        for name in sorted(logs, key=lambda name: (name not in names, name))
    )


UP = "running"
profile_names = _completer(_profiles)
runtime_names = _completer(_runtimes)
live_names = _completer(lambda: (item for item in _runtimes() if item[1] == UP))
logged_names = _completer(logs)
