"""What was done, to be taken back in reverse when the rest of a story fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack

from ..core.errors import RemoteRuntimeError, unforeseen

log = logging.getLogger(__name__)
UNDO_S = 120.0


class Undo:
    """A step that fails, or meets a bug of ours, does not keep the others from their turn.

    ``tell`` is told of each step that has a name. ``remains``: what could not be taken back, in words.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._steps: list[tuple[str, Callable[[], object], str]] = []
        self._owed: list[str] = []
        self.remains: list[str] = []

    def add(self, what: str, step: Callable[[], object], *, of: str = "") -> None:
        """``what``: the step's name, empty for one that goes without saying. A step ``of`` a thing replaces the one
        that was there for it."""
        self._steps = [each for each in self._steps if not of or each[2] != of]
        self._steps.append((what, step, of))

    def forget(self, of: str) -> None:
        """The thing is not ours to take back."""
        self._steps = [each for each in self._steps if each[2] != of]

    def owe(self, what: str) -> None:
        """Something of an earlier attempt that can be taken back only once the story gets that far (``settle``)."""
        self._owed.append(what)

    def settle(self) -> None:
        self._owed.clear()

    def run(self) -> None:
        with ExitStack() as stack:  # which calls the others too when one of them is interrupted
            stack.callback(lambda: self.remains.extend(self._owed))
            for what, step, _ in self._steps:
                stack.callback(self._take_back, what, step)

    def _take_back(self, what: str, step: Callable[[], object]) -> None:
        try:
            if what:
                self._tell(f"Undoing: {what}")
            step()
        except RemoteRuntimeError as error:
            self.remains.append(f"{what or 'cleaning up'} failed: {error}")
        except Exception as error:
            log.exception("a bug of ours while undoing")
            self.remains.append(f"{what or 'cleaning up'} failed: {unforeseen(error)}")
