"""What the catalogue says of one error code."""

from __future__ import annotations

import shlex

from ..fast_dataclass import fast_dataclass

PLACEHOLDER = "PROFILE"


@fast_dataclass(frozen=True)
class CatalogueEntry:
    """``meaning`` completes "the code says that …". ``cause``: where it comes from. ``cure``: what to do, with the
    command in backticks; PROFILE stands for the runtime's name, and it is the hint of an error that has none. Doctor
    shows it too, so it is never doctor."""

    meaning: str
    cause: str
    remedy: str


def fill_in_profile(text: str, reference: str) -> str:
    """``text`` in which commands such as ``remote-runtime up PROFILE`` name ``reference``, quoted for a shell.

    Code that writes a hint need not know whether the profile is found by its name or by the path of its file. The
    placeholder stays in state files, in logs and on the control channel.
    """
    return text.replace(f" {PLACEHOLDER}", f" {shlex.quote(reference)}") if reference else text
