"""What every command works with: the state directory, the environment, the terminal, and the event that cancels it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, TypeVar

from ..core.callbacks import Prompt
from ..core.deadline import Deadline
from ..core.errors import from_code
from ..core.fast_dataclass import fast_dataclass
from ..state.store import StateDir

T = TypeVar("T")


class View:
    """Shows progress and prompts the user. This base class shows nothing and answers nothing. ``name``: the runtime's.
    Methods may be called from several threads, one per runtime."""

    interactive = False  # whether a user can answer prompts

    def step(self, name: str, text: str, done: str = "") -> None:
        """A step begins; the one before it is done. ``text`` says what is being done (`Stopping Jupyter`), ``done``
        what was done then (`Stopped Jupyter`); where it is empty, nothing of the step stays on the screen."""

    def finish(self, name: str, done: str) -> None:
        """The current step is done; ``done`` has what was learnt (`Started Jupyter (Python 3.12)`)."""

    def detail(self, name: str, text: str) -> None:
        """The current step makes progress."""

    def note(self, name: str, text: str) -> None:
        """A line that stays, below the current step."""

    def done(self, name: str) -> None:
        """The current step, if any, is done."""

    def failed(self, name: str) -> None:
        """The current step, if any, has failed."""

    def prompt(self, name: str, text: str, *, secret: bool) -> str:
        """Raises ``EOFError`` without a terminal."""
        raise EOFError

    def confirm(self, name: str, question: str) -> bool:
        """False without a terminal."""
        return False

    def answer_prompts(self, timeout_s: float) -> None:
        """In the main thread: read answers to the prompts of other threads. Raises ``KeyboardInterrupt``."""
        time.sleep(timeout_s)

    def pause(self) -> None:
        """Stop drawing until the next step, so that something else can be printed."""


@fast_dataclass(frozen=True)
class ViewProgress:
    """The progress of one runtime, shown in a view: a ``lifecycle.context.ProgressSink``."""

    view: View
    name: str

    def __call__(self, text: str) -> None:
        self.view.detail(self.name, text)

    def step(self, text: str, done: str = "") -> None:
        self.view.step(self.name, text, done)

    def finish(self, done: str) -> None:
        self.view.finish(self.name, done)

    def fail(self) -> None:
        self.view.failed(self.name)

    def note(self, text: str) -> None:
        self.view.note(self.name, text)


PROGRESS_EVENTS = ("step", "finish", "step-failed", "detail", "note")


def show_progress(event: Mapping[str, Any], name: str, view: View) -> None:
    """Shows one of a keeper's ``PROGRESS_EVENTS``."""
    kind, text = event["event"], event.get("text", "")
    if kind == "step":
        view.step(name, text, event.get("done", ""))
    elif kind == "step-failed":
        view.failed(name)
    else:
        {"finish": view.finish, "detail": view.detail, "note": view.note}[kind](name, text)


@fast_dataclass(frozen=True)
class CommandContext:
    """The arguments that all commands have. ``cancelled``: set by the first Ctrl-C; the command then undoes what it
    began."""

    state: StateDir
    environ: Mapping[str, str]
    view: View
    cancelled: threading.Event = field(default_factory=threading.Event)

    def deadline(self, timeout_s: float) -> Deadline:
        return Deadline(timeout_s, self.cancelled)

    def progress(self, name: str) -> ViewProgress:
        return ViewProgress(self.view, name)

    def prompt(self, name: str) -> Prompt:
        def ask(prompt: str, *, secret: bool, code: str) -> str:
            try:
                return self.view.prompt(name, prompt, secret=secret)
            except EOFError as error:
                raise from_code(code, f"Input required: {prompt}", "stdin is not a terminal") from error

        return ask


def run_parallel(jobs: Mapping[str, Callable[[], T]], context: CommandContext) -> dict[str, T | Exception]:
    """Run each job in a thread; return its result or exception, in the order of the jobs.

    The main thread answers prompts. The first Ctrl-C sets ``context.cancelled`` and waits for the jobs; the second one
    raises ``KeyboardInterrupt``.
    """
    results: dict[str, T | Exception] = {}

    def work(name: str, job: Callable[[], T]) -> None:
        try:
            results[name] = job()
        except Exception as error:  # noqa: BLE001  # the caller gets it as a result
            results[name] = error

    threads = [threading.Thread(target=work, args=job, daemon=True) for job in jobs.items()]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            try:
                context.view.answer_prompts(0.1)
            except KeyboardInterrupt:
                if context.cancelled.is_set():
                    raise
                context.cancelled.set()
    finally:
        context.view.pause()
    return {name: results[name] for name in jobs if name in results}
