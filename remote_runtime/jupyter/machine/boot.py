"""Runs Jupyter with the bridge on the path of this process only; kernels and PYTHONPATH stay as the user has them.

``python boot.py KIND BRIDGE --config=FILE ARGS…``: KIND is ``notebook6`` or a ``server…``, BRIDGE the folder that
holds ``remote_runtime_bridge``, FILE the JSON configuration with the token.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

# jsonschema imports it for a format that Jupyter's own schemas do not have. It builds a grammar when it is imported:
# 2 s of computing, three quarters of what it takes a server to start.
GRAMMAR = "rfc3987_syntax"


class Redacted:
    """A stream that never shows the token: at debug level, and with every 500, Jupyter would print it."""

    def __init__(self, stream: TextIO, token: str) -> None:
        self._stream = stream
        self._tokens = [token]

    def hide(self, token: str) -> None:
        """Another one, which the server has from now on."""
        self._tokens.append(token)

    def write(self, text: str) -> int:
        for token in self._tokens:
            text = text.replace(token, "[token]")
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def import_when_used(name: str, function: str) -> None:
    """From here on ``from NAME import FUNCTION`` imports nothing; the first call does, and so does any other name of
    it. Nothing changes where it is not installed."""
    if name in sys.modules or (spec := importlib.util.find_spec(name)) is None:
        return
    stand_in = importlib.util.module_from_spec(spec)

    def find(wanted: str) -> Any:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        return getattr(importlib.import_module(name), wanted)

    def call(*args: Any, **kwargs: Any) -> Any:
        return find(function)(*args, **kwargs)

    vars(stand_in).update({"__getattr__": find, function: call})
    sys.modules[name] = stand_in


def keep(folder: str) -> None:
    """While this process lives, systemd-tmpfiles cleans nothing in a folder below /tmp that is locked (tmpfiles.d(5)):
    a kernel whose socket is gone lives on and cannot be reached."""
    if sys.platform != "win32":
        import fcntl

        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB)


def main() -> None:
    kind, bridge = sys.argv[1:3]
    del sys.argv[1:3]
    with open(sys.argv[1][len("--config=") :], encoding="utf-8") as handle:
        sections = json.load(handle)
    token = next(section["token"] for section in sections.values() if section.get("token"))
    streams: Any = [Redacted(stream, token) for stream in (sys.stdout, sys.stderr)]
    sys.stdout, sys.stderr = streams
    keep(os.environ["JUPYTER_RUNTIME_DIR"])
    # The first entry is the folder of this file, where nothing may be imported from.
    sys.path[0] = bridge
    import_when_used(GRAMMAR, "is_valid_syntax")
    if kind == "notebook6":
        from notebook.notebookapp import NotebookApp as App
    else:
        from jupyter_server.serverapp import ServerApp as App
    App.launch_instance()


if __name__ == "__main__":
    main()
