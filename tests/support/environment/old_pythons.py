"""Pythons that this computer may have beside its own."""

from __future__ import annotations

import os

import pytest

from scripts.stacks import venvs

IN_CI = "CI" in os.environ


def old_python(version: str) -> str:
    """Debian installs none of them. In CI a missing one is a failure."""
    try:
        return venvs.find_python(version)
    except venvs.Unavailable as reason:
        if IN_CI:
            raise
        pytest.skip(str(reason))
