"""``remote_runtime.open`` in a script: a runtime as long as a block lasts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

import remote_runtime
from remote_runtime.core.errors import LocalError, RemoteRuntimeError
from tests.support.clients.page import Page
from tests.support.environment.world import World


@pytest.fixture
def here(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in ("REMOTE_RUNTIME_STATE_DIR", "REMOTE_RUNTIME_PROFILES", "PATH", "PYTHONPATH"):
        monkeypatch.setenv(name, world.environ[name])
    world.profile("here", "version: 1\ntarget: {kind: local}\n")
    yield world
    world.end()


def test_a_cell_runs_inside_the_block_and_nothing_is_left_after_it(here: World) -> None:
    progress: list[str] = []
    with remote_runtime.open("here", on_progress=progress.append) as runtime:
        page = Page(runtime.url.reveal())
        assert page.run(page.start_kernel(), "print(6*7)") == "42"
        token = runtime.url.reveal().partition("=")[2]
        shown = (str(runtime), repr(runtime.url), str(runtime.url), runtime._repr_html_())
        assert not [text for text in shown if token in text]
        assert runtime.target == {"kind": "local"}
    assert "Starting Jupyter" in progress
    assert here.running() == []
    assert here.look("here")["state"] == "down"


def test_what_was_up_stays_up_unless_it_is_wanted_otherwise(here: World) -> None:
    url = here.up("here")
    with remote_runtime.open("here") as runtime:
        assert runtime.url.reveal() == url
    assert here.look("here")["state"] == "ready"
    with pytest.raises(RuntimeError, match="mine"), remote_runtime.open("here", keep=False):
        raise RuntimeError("mine")
    assert here.running() == []


def test_a_runtime_can_be_kept_and_busy_kernels_keep_it(here: World) -> None:
    with remote_runtime.open("here", keep=True) as runtime:
        page = Page(runtime.url.reveal())
        kernel = page.start_kernel()
    assert here.look("here")["state"] == "ready"
    with pytest.raises(LocalError, match="busy"), remote_runtime.open("here", keep=False):
        page.begin(kernel, "import time; time.sleep(60)")
    assert here.look("here")["server"]["kernels"] == 1


def test_what_cannot_be_brought_up_is_an_error_with_a_code(here: World) -> None:
    here.profile("broken", "version: 1\ntarget: {kind: local}\njupyter: {python: /nowhere}\n")
    with pytest.raises(RemoteRuntimeError) as caught, remote_runtime.open("broken"):
        pytest.fail("it cannot be ready")
    assert caught.value.code == "python-missing"
    assert here.running() == []
    with pytest.raises(RemoteRuntimeError) as caught, remote_runtime.open("nobody-has-it"):
        pytest.fail("it cannot be ready")
    assert caught.value.code == "profile-not-found"


def test_up_status_and_down_do_what_the_commands_do(here: World) -> None:
    runtime = remote_runtime.up("here")
    assert here.look("here")["url"] == runtime.url.reveal()
    (seen,) = remote_runtime.status()
    assert (seen.name, seen.state, seen.url) == ("here", "ready", runtime.url)
    stopped = remote_runtime.down("here")
    assert (stopped["name"], stopped["server"]) == ("here", "stopped")
    assert here.running() == []
    (seen,) = remote_runtime.status("here")
    assert (seen.state, seen.url) == ("down", None)
    assert remote_runtime.down("here")["tunnel"] is False


def test_importing_it_loads_nothing(own_home: object) -> None:
    code = (
        "import sys; before = set(sys.modules); import remote_runtime\n"
        "new = set(sys.modules) - before\n"
        "print(sorted(name for name in new if name.split('.')[0] not in sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "['remote_runtime', 'remote_runtime._version']"
