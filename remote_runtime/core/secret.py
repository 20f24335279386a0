"""Texts that are never shown."""

from __future__ import annotations

# The bridge proves no shorter token: it could be guessed from the proof.
MIN_TOKEN_CHARS = 16


class Secret:
    """A string whose repr and str are ``***``; only ``reveal()`` returns it."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """The string itself."""
        return self.__value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self.__value

    def __hash__(self) -> int:
        return hash(self.__value)
