"""What was done, to be taken back in reverse when the rest of a story fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack

from ..core.errors import RemoteRuntimeError, describe_bug

log = logging.getLogger(__name__)
ROLLBACK_S = 120.0


class Rollback:
    """A step that fails, or meets a bug of ours, does not keep the others from their turn.

    ``tell`` is told of each step that has a name. ``remains``: what could not be taken back, in words.
    """

    def __init__(self, progress: Callable[[str], None]) -> None:
        self._progress = progress
        self._steps: list[tuple[str, Callable[[], object], str]] = []
        self._deferred: list[str] = []
        self.failures: list[str] = []

    def push(self, description: str, step: Callable[[], object], *, key: str = "") -> None:
        """``what``: the step's name, empty for one that goes without saying. A step ``of`` a thing replaces the one
        that was there for it."""
        self._steps = [each for each in self._steps if not key or each[2] != key]
        self._steps.append((description, step, key))

    def discard(self, key: str) -> None:
        """The thing is not ours to take back."""
        self._steps = [each for each in self._steps if each[2] != key]

    def defer(self, description: str) -> None:
        """Something of an earlier attempt that can be taken back only once the story gets that far (``settle``)."""
        self._deferred.append(description)

    def resolve_deferred(self) -> None:
        self._deferred.clear()

    def run(self) -> None:
        with ExitStack() as stack:  # which calls the others too when one of them is interrupted
            stack.callback(lambda: self.failures.extend(self._deferred))
            for what, step, _ in self._steps:
                stack.callback(self._run_step, what, step)

    def _run_step(self, description: str, step: Callable[[], object]) -> None:
        try:
            if description:
                self._progress(f"Undoing: {description}")
            step()
        except RemoteRuntimeError as error:
            self.failures.append(f"{description or 'cleaning up'} failed: {error}")
        except Exception as error:
            log.exception("a bug of ours while undoing")
            self.failures.append(f"{description or 'cleaning up'} failed: {describe_bug(error)}")
