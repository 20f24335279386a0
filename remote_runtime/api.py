"""The Python API: ``remote_runtime.open``, on the same commands as the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from . import profiles
from .commands.context import CommandContext, View
from .commands.down import DownOptions, down
from .commands.up import Options, up
from .core.errors import RemoteRuntimeError
from .core.errors.catalogue import fill_in_profile
from .core.fast_dataclass import fast_dataclass
from .core.model import Runtime, Secret
from .state import store


@fast_dataclass(frozen=True)
class ReadyRuntime(Runtime):
    """A runtime that is ready: it has a URL."""

    @property
    def url(self) -> Secret:
        """The URL for Colab, token included."""
        url = super().url
        if url is None:
            raise ValueError(f"{self.name} is not ready")
        return url


@contextmanager
def open_runtime(
    profile: str, *, keep: bool | None, timeout_s: float | None, progress: Callable[[str], None] | None
) -> Iterator[ReadyRuntime]:
    """See ``remote_runtime.open``."""
    name, state = profiles.name_of(profile), store.open_state_dir(os.environ)
    context = CommandContext(state, dict(os.environ), View() if progress is None else _ProgressView(progress))
    was_up = store.is_alive(state, name)
    try:
        up(profile, Options(timeout_s=timeout_s), context, on_ready=lambda runtime: None)
        try:
            runtime = store.load(state, name)
            if runtime is None:
                raise ValueError(f"{name} was ready a moment ago")
            yield ReadyRuntime(**vars(runtime))
        finally:
            if not (was_up if keep is None else keep):
                down(name, DownOptions(), context)
    except RemoteRuntimeError as error:
        error.why, error.hint = (fill_in_profile(text, profile) for text in (error.why, error.hint))
        raise


class _ProgressView(View):
    """Passes each text to ``progress``. The end of a step shows in the next one, its failure in the exception."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self._progress = progress

    def step(self, name: str, text: str) -> None:
        self._progress(text)

    detail = note = step
