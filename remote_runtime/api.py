"""The Python API: ``open``, ``up``, ``down`` and ``status``, on the same commands as the command line."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from . import profiles
from .commands import status as status_command
from .commands.context import CommandContext, View
from .commands.cp import CopyResult, copy
from .commands.down import DownOptions, down
from .commands.exec_for_result import exec_for_result
from .commands.exec_result import CodeResult, CollectedOutput, OnOutput
from .commands.up import Options, up
from .core import errors
from .core.errors.catalogue import fill_in_profile
from .core.model import Runtime, Secret
from .core.move import UpConsent
from .state import store

# What a keeper knows better than the state file.
LIVE_FIELDS = (
    "state",
    "why",
    "local_port",
    "local_host",
    "since",
    "reconnects",
    "rtt_ms",
    "page_requests",
    "last_error",
)
OnProgress = Callable[[str], None]


class MaskedUrl(Secret):
    """A URL with a token. It is printed without the token; ``reveal()`` returns all of it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{self.reveal().partition('=')[0]}=*** (url.reveal() returns the URL with its token)"


class ApiRuntime(Runtime):
    """A runtime, for people who look at it in a script or a notebook."""

    @property
    def url(self) -> MaskedUrl | None:
        """The URL for Colab: ``url.reveal()`` returns it with its token. None if the runtime has none."""
        url = super().url
        return None if url is None or self.state == "down" else MaskedUrl(url.reveal())

    @property
    def machine(self) -> str:
        """Its VM with the zone, its host, or its kind where it has no name."""
        instance = self.instance
        if instance is None:
            return self.target.get("kind", "")
        return f"{instance.name} in {instance.zone}" if instance.zone else instance.name

    def __repr__(self) -> str:
        shown = [f"{self.name}: {self.state}", self.machine, self.why, str(self.url or "")]
        return f"<remote_runtime.{type(self).__name__} {', '.join(filter(None, shown))}>"

    def _repr_html_(self) -> str:
        """For notebooks, which may be shared: without the token."""
        rows = {"state": self.state, "why": self.why, "machine": self.machine, "url": str(self.url or "")}
        cells = "".join(
            f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in rows.items() if value
        )
        return f"<table><caption>{html.escape(self.name)}</caption>{cells}</table>"


class ReadyRuntime(ApiRuntime):
    """A runtime that is ready: it has a URL."""

    @property
    def url(self) -> MaskedUrl:
        """The URL for Colab: ``url.reveal()`` returns it with its token."""
        url = super().url
        if url is None:
            raise ValueError(f"{self.name} is not ready")
        return url

    def exec(
        self,
        code: str,
        *,
        timeout_s: float | None = None,
        on_output: OnOutput | None = None,
        new_kernel: bool = False,
        input: str = "",  # as subprocess.run has it
    ) -> CodeResult:
        """Run ``code`` on the machine and return what it printed, displayed, and how it ended: `remote-runtime exec`.

        An exception of the code is no error here: see ``status`` and ``error`` of the result. ``timeout_s``: then the
        code is interrupted, and ``DeadlinePassed`` raised. ``on_output(stream, text)`` is called in another thread for
        each part of its output; ``stream`` is ``stdout`` or ``stderr``. ``new_kernel``: with variables of its own;
        otherwise they stay between calls. ``input``: the code's stdin. Ctrl-C interrupts the code.

        Raises ``RemoteRuntimeError`` for failures of remote-runtime itself.
        """
        with _named_in_hints(self.name):
            return exec_for_result(
                self.name,
                code,
                CollectedOutput(on_output, input),
                _context(None),
                new_kernel=new_kernel,
                timeout_s=timeout_s,
            )

    def copy(self, source: str, target: str, *, recursive: bool = False, resume: bool = False) -> CopyResult:
        """Copy a file, or a folder with ``recursive``, to or from the machine: `remote-runtime cp`.

        One of the two is a path on the machine and begins with a colon: ``runtime.copy("data.csv", ":data.csv")``. It
        begins in your home folder there. ``resume`` continues a copy that was interrupted. Files that can't be copied
        are in the result's ``failed``. Raises ``RemoteRuntimeError``.
        """
        names = [f"{self.name}{path}" if path.startswith(":") else path for path in (source, target)]
        with _named_in_hints(self.name):
            return copy(names[:1], names[1], _context(None), recursive=recursive, resume=resume)


@contextmanager
def open_runtime(
    profile: str, *, keep: bool | None, timeout_s: float | None, yes: bool, on_progress: OnProgress | None
) -> Iterator[ReadyRuntime]:
    """See ``remote_runtime.open``."""
    was_up = store.is_alive(_context(None).state, profiles.name_of(profile))
    runtime = start_runtime(profile, timeout_s=timeout_s, yes=yes, on_progress=on_progress)
    try:
        yield runtime
    finally:
        if not (was_up if keep is None else keep):
            stop_runtime(profile, DownOptions(yes=yes), on_progress=on_progress)


def start_runtime(
    profile: str, *, timeout_s: float | None, on_progress: OnProgress | None, yes: bool = False
) -> ReadyRuntime:
    """See ``remote_runtime.up``."""
    context = _context(on_progress)
    with _named_in_hints(profile):
        document = up(
            profile, Options(timeout_s=timeout_s, consent=UpConsent(yes)), context, on_ready=lambda runtime: None
        )
    return ReadyRuntime(**vars(_loaded(context.state, document)))


def stop_runtime(profile: str, options: DownOptions, *, on_progress: OnProgress | None) -> dict[str, Any]:
    """See ``remote_runtime.down``."""
    with _named_in_hints(profile):
        return down(profiles.name_of(profile), options, _context(on_progress))


def list_runtimes(references: Sequence[str]) -> list[ApiRuntime]:
    """See ``remote_runtime.status``."""
    context = _context(None)
    names = [profiles.name_of(reference) for reference in references]
    return [
        ApiRuntime(**vars(_loaded(context.state, document)))
        for document in status_command.status(names, context.state, context.environ)
    ]


def _loaded(state: store.StateDir, document: dict[str, Any]) -> Runtime:
    """The runtime of the state file, with what RUNTIME has from its keeper."""
    known = status_command.load_runtime(state, document["name"])
    return replace(known, **{field: document[field] for field in LIVE_FIELDS})


def _context(on_progress: OnProgress | None) -> CommandContext:
    environ = dict(os.environ)
    view = View() if on_progress is None else _ProgressView(on_progress)
    return CommandContext(store.open_state_dir(environ), environ, view)


@contextmanager
def _named_in_hints(profile: str) -> Iterator[None]:
    """Errors name ``profile`` in their commands."""
    try:
        yield
    except errors.RemoteRuntimeError as error:
        error.why, error.hint = (fill_in_profile(text, profile) for text in (error.why, error.hint))
        raise


class _ProgressView(View):
    """Passes each text to ``on_progress``. A failure shows in the exception."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress

    def step(self, name: str, text: str, done: str = "") -> None:
        self._on_progress(text)

    def detail(self, name: str, text: str) -> None:
        self._on_progress(text)

    note = detail

    def finish(self, name: str, done: str) -> None:
        self._on_progress(done)
