"""The Python API on the demo VM: what a notebook would do."""

from __future__ import annotations

import pytest

import remote_runtime
from tests.support.clients.page import Page
from tests.support.environment.world import World


def test_a_cell_runs_on_the_demo_vm_that_python_started(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REMOTE_RUNTIME_STATE_DIR", "REMOTE_RUNTIME_PROFILES", "PATH", "PYTHONPATH"):
        monkeypatch.setenv(name, world.environ[name])
    progress: list[str] = []
    with remote_runtime.open("demo", on_progress=progress.append) as runtime:
        assert runtime.machine.startswith("demo-vm in ")
        page = Page(runtime.url.reveal())
        assert page.run(page.start_kernel(), "print(6*7)") == "42"
        assert [each.name for each in remote_runtime.status()] == ["demo"]
        page.begin(page.start_kernel(), "import time; time.sleep(60)")
        with pytest.raises(remote_runtime.LocalError, match="busy"):
            remote_runtime.down("demo")
        assert remote_runtime.down("demo", force=True)["server"] == "stopped"
    assert len(progress) > 3
    assert world.running() == []
