"""An entry of the catalogue of error codes, and the placeholder in the commands that its texts name."""

from __future__ import annotations

import shlex

from ..fast_dataclass import fast_dataclass

PLACEHOLDER = "PROFILE"


@fast_dataclass(frozen=True)
class CatalogueEntry:
    """Sentences. ``fix``: what to do, with commands in backticks; the hint of errors without one. `doctor` shows it
    too, so it never names `doctor`."""

    meaning: str
    cause: str
    fix: str


def fill_in_profile(text: str, reference: str) -> str:
    """``text`` in which commands such as ``remote-runtime up PROFILE`` name ``reference``, quoted for a shell.

    Code that writes a hint need not know whether the user names the profile or the path of its file. The placeholder
    stays in state files, in logs and on the control channel.
    """
    return text.replace(f" {PLACEHOLDER}", f" {shlex.quote(reference)}") if reference else text
