"""What the catalogue says of one error code."""

from __future__ import annotations

from ..fast_dataclass import fast_dataclass


@fast_dataclass(frozen=True)
class CatalogueEntry:
    """``meaning`` completes "the code says that …". ``cause``: where it comes from. ``cure``: what to do, with the
    command in backticks; PROFILE stands for the runtime's name, and it is the hint of an error that has none. Doctor
    shows it too, so it is never doctor."""

    meaning: str
    cause: str
    remedy: str
