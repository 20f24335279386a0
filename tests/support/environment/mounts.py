"""Folders that only some processes see."""

from __future__ import annotations

import os


def within_mount(arguments: str) -> list[str]:
    """The beginning of a command that runs what follows where ``mount ARGUMENTS`` holds, for nobody else."""
    namespace = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"])]
    return [*namespace, "sh", "-c", f'mount {arguments} && exec "$@"', "sh"]
