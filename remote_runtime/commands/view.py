"""What a command needs of the terminal, so that it can tell its story and ask."""

from __future__ import annotations

from typing import Protocol


class View(Protocol):
    """Safe to call from several threads, one runtime each. ``ask`` raises ``EOFError`` when nobody can answer."""

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked."""

    def step(self, name: str, text: str) -> None: ...
    def detail(self, name: str, text: str) -> None: ...
    def note(self, name: str, text: str) -> None: ...
    def done(self, name: str) -> None: ...
    def ask(self, name: str, prompt: str, *, secret: bool) -> str: ...
    def confirm(self, name: str, question: str) -> bool: ...
