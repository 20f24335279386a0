"""One mistake in a profile."""

from __future__ import annotations

from ..fast_dataclass import fast_dataclass


@fast_dataclass(frozen=True)
class ProfileProblem:
    """``line`` and ``column`` count from 1; ``key`` is dotted (``forward.extra[0]``), empty for the file as a whole.
    ``end_column``: where what is wrong ends on that line, exclusive; 0 if that is elsewhere."""

    line: int
    column: int
    key: str
    message: str
    end_column: int = 0

    def sentence(self, file: str) -> str:
        """``file:line: key: message``."""
        return f"{file}:{self.line}: " + (f"{self.key}: " if self.key else "") + self.message

    def as_dict(self, file: str) -> dict[str, str | int]:
        return {"file": file, "line": self.line, "column": self.column, "key": self.key, "message": self.message}
