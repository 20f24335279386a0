"""The Python side: a runtime in a ``with`` block (``remote_runtime.open``). The same commands as on the terminal."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from . import profiles
from .commands.down import down
from .commands.up import Options, up
from .core.fast_dataclass import fast_dataclass
from .core.model import Runtime, Secret
from .state import store


@fast_dataclass(frozen=True)
class ReadyRuntime(Runtime):
    """A runtime that is ready: it has a URL."""

    @property
    def url(self) -> Secret:
        """What is pasted into Colab, token included."""
        url = super().url
        if url is None:
            raise ValueError(f"{self.name} is not ready")
        return url


@contextmanager
def open_runtime(
    profile: str, *, keep: bool | None, timeout_s: float | None, progress: Callable[[str], None] | None
) -> Iterator[ReadyRuntime]:
    """See ``remote_runtime.open``."""
    environ, state = dict(os.environ), store.open_state_dir(os.environ)
    name, view, never_cancelled = profiles.name_of(profile), _ProgressView(progress), threading.Event()
    was_up = store.is_alive(state, name)
    up(
        profile,
        Options(timeout_s=timeout_s),
        state=state,
        environ=environ,
        view=view,
        called_off=never_cancelled,
        on_ready=lambda runtime: None,
    )
    try:
        runtime = store.load(state, name)
        if runtime is None:
            raise ValueError(f"{name} was ready a moment ago")
        yield ReadyRuntime(**vars(runtime))
    finally:
        if not (was_up if keep is None else keep):
            down(
                name,
                keep_server=False,
                instance=None,
                purge=False,
                force=False,
                state=state,
                environ=environ,
                view=view,
                called_off=never_cancelled,
            )


class _ProgressView:
    """``commands.view.View`` without a person."""

    interactive = False

    def __init__(self, progress: Callable[[str], None] | None) -> None:
        self._progress = progress or (lambda text: None)

    def step(self, name: str, text: str) -> None:
        self._progress(text)

    def detail(self, name: str, text: str) -> None:
        self._progress(text)

    def note(self, name: str, text: str) -> None:
        self._progress(text)

    def done(self, name: str) -> None:
        """The next step says it."""

    def failed(self, name: str) -> None:
        """The exception says it."""

    def ask(self, name: str, prompt: str, *, secret: bool) -> str:
        raise EOFError

    def confirm(self, name: str, question: str) -> bool:
        return False
