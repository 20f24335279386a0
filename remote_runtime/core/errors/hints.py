"""The commands in hints and reasons: written with a placeholder, shown with what the user calls the profile."""

from __future__ import annotations

import shlex

PLACEHOLDER = "PROFILE"


def fill_in_profile(text: str, reference: str) -> str:
    """``text`` in which commands such as ``remote-runtime up PROFILE`` name ``reference``, quoted for a shell.

    Code that writes a hint need not know whether the profile is found by its name or by the path of its file. The
    placeholder stays in state files, in logs and on the control channel.
    """
    return text.replace(f" {PLACEHOLDER}", f" {shlex.quote(reference)}") if reference else text
