"""What `down` refuses before it touches anything."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from remote_runtime.commands.context import CommandContext, View
from remote_runtime.commands.down import DownOptions, down
from remote_runtime.core.errors import UsageError
from remote_runtime.core.model import Runtime
from remote_runtime.state import store


def test_the_server_of_a_demo_cannot_be_kept(tmp_path: Path) -> None:
    state = store.StateDir(tmp_path)
    store.save(state, Runtime("demo", "/demo.yaml", {"kind": "demo"}, "c", state="ready"))
    context = CommandContext(state, {}, View(), threading.Event())
    with pytest.raises(UsageError, match="Can't keep Jupyter of demo running") as caught:
        down("demo", DownOptions(keep_server=True), context)
    assert caught.value.exit_code == 2
    assert state.file_path("demo", "json").exists()
