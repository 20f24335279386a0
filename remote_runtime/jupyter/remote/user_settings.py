"""Notes about the user's own Jupyter settings that the server does not use.

``jupyter_config.*`` applies, without the traits that ``run_server.py`` removes. ``jupyter_server_config.*`` and
Notebook 6's files are not read: remote-runtime's configuration replaces them; extensions that they enable are still
enabled."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from . import processes
from .data_dir import load_json

IGNORED_FILE = "unused.json"
MAX_FILE_BYTES = 1 << 20
MAX_NAMES = 5


def settings_notes(directory: str, kind: str, env: Mapping[str, str]) -> list[str]:
    """Call it after the server in ``directory`` has started."""
    return [*ignored_traits(directory), *unread_files(kind, env)]


def ignored_traits(directory: str) -> list[str]:
    """The traits that ``run_server.py`` removed."""
    document = load_json(os.path.join(directory, IGNORED_FILE))
    names, files = document.get("traits"), document.get("files")
    if not isinstance(names, list) or not isinstance(files, list) or not names:
        return []
    shown = ", ".join(map(str, names[:MAX_NAMES])) + (" …" if len(names) > MAX_NAMES else "")
    where = ", ".join(map(str, files)) or "your Jupyter settings"
    return [f"{where}: this server ignores settings for access and addresses: {shown}"]


def unread_files(kind: str, env: Mapping[str, str]) -> list[str]:
    folder = env.get("JUPYTER_CONFIG_DIR") or os.path.join(env.get("HOME") or os.path.expanduser("~"), ".jupyter")
    stem = "jupyter_notebook_config" if kind == "notebook6" else "jupyter_server_config"
    paths = [os.path.join(folder, stem + end) for end in (".py", ".json")]
    found = [path for path in paths if has_settings(path)]
    if not found:
        return []
    return [f"{' and '.join(found)} is not read by this server. `jupyter.args` sets limits; jupyter_config.py in "
            "that folder applies to kernels and contents"]  # fmt: skip


def has_settings(path: str) -> bool:
    """False for a generated file, which has only comments, and for one that only enables extensions."""
    text = processes.read_text(path, MAX_FILE_BYTES)
    if path.endswith(".py") or not text:
        return any(line.strip() and not line.strip().startswith("#") for line in text.splitlines())
    try:
        sections = json.loads(text)
    except ValueError:
        return True
    values = sections.values() if isinstance(sections, dict) else []
    traits = [set(section) for section in values if isinstance(section, dict)]
    return any(each - {"jpserver_extensions", "nbserver_extensions"} for each in traits)
