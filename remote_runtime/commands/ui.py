"""What a command needs of the terminal, so that it can tell its story and ask."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

T = TypeVar("T")


class View(Protocol):
    """Safe to call from several threads, one runtime each. ``ask`` raises ``EOFError`` when nobody can answer."""

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked."""

    def step(self, name: str, text: str) -> None: ...
    def detail(self, name: str, text: str) -> None: ...
    def note(self, name: str, text: str) -> None: ...
    def done(self, name: str) -> None: ...
    def failed(self, name: str) -> None: ...
    def ask(self, name: str, prompt: str, *, secret: bool) -> str: ...
    def confirm(self, name: str, question: str) -> bool: ...


class Prompter(Protocol):
    def answer_prompts(self, timeout_s: float) -> None:
        """Let the person answer the questions that are open, in this thread. Raises ``KeyboardInterrupt``."""


def run_parallel(
    jobs: Mapping[str, Callable[[], T]], prompter: Prompter, cancelled: threading.Event
) -> dict[str, T | Exception]:
    """Each job's result, or what it raised, in the order of the jobs.

    The first Ctrl-C calls the work off and waits for it to be undone; the second one raises ``KeyboardInterrupt``.
    """
    results: dict[str, T | Exception] = {}

    def work(name: str, job: Callable[[], T]) -> None:
        try:
            results[name] = job()
        except Exception as error:  # noqa: BLE001  # it is the caller's, who gets it as a result
            results[name] = error

    threads = [threading.Thread(target=work, args=job, daemon=True) for job in jobs.items()]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        try:
            prompter.answer_prompts(0.1)
        except KeyboardInterrupt:
            if cancelled.is_set():
                raise
            cancelled.set()
    return {name: results[name] for name in jobs if name in results}
