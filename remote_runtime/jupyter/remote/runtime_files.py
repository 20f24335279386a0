"""What running Jupyter servers write down about themselves: ``jpserver-PID.json``, in Notebook 6 ``nbserver-PID.json``.

Where: jupyter_core's ``jupyter_runtime_dir``, seen with the environment of the server's own process.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from .data_dir import load_json
from .processes import LINUX

NAMES = ("jpserver-{}.json", "nbserver-{}.json")


def read_description(pid: int) -> tuple[str, dict[str, Any]]:
    """The file and what it says; empty when there is none."""
    for folder in runtime_dirs(process_environment(pid)):
        for name in NAMES:
            path = os.path.join(folder, name.format(pid))
            description = load_json(path)
            if description:
                return path, description
    return "", {}


def runtime_dirs(env: dict[str, str]) -> list[str]:
    home = env.get("HOME") or os.path.expanduser("~")
    found = [env["JUPYTER_RUNTIME_DIR"]] if env.get("JUPYTER_RUNTIME_DIR") else []
    found += [os.path.join(env["JUPYTER_DATA_DIR"], "runtime")] if env.get("JUPYTER_DATA_DIR") else []
    if os.name == "nt":
        return [*found, os.path.join(env.get("APPDATA", home), "jupyter", "runtime")]
    if sys.platform == "darwin":
        return [*found, os.path.join(home, "Library", "Jupyter", "runtime")]
    data = env.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    return [*found, os.path.join(data, "jupyter", "runtime")]


def process_environment(pid: int) -> dict[str, str]:
    """That of another process where the system shows it (Linux), else our own."""
    if not LINUX:
        return dict(os.environ)
    try:
        with open(f"/proc/{pid}/environ", "rb") as handle:
            entries = handle.read(1 << 20).decode("utf-8", "surrogateescape").split("\0")
    except OSError:
        return dict(os.environ)
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)
