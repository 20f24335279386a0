"""The priority of a worker process that a person does not wait for."""

from __future__ import annotations

import os
import sys

BACKGROUND_NICENESS = 10


def run_in_background() -> None:
    """Lowers the priority of this process, where the system can."""
    if sys.platform != "win32":
        os.nice(BACKGROUND_NICENESS)
