"""Guards for every test: a network and a HOME of its own, no leaked process, no leaked file descriptor."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import FrameType

import psutil
import pytest

from remote_runtime.compute.client import lazy_import
from remote_runtime.jupyter.remote import run_server

from .support.environment import network
from .support.environment.world import PERSONAL, World

SETTLE_S = 10.0
# Test modules and Google's client are hundreds of thousands of objects that are never garbage.
gc.set_threshold(20_000, 50)


def pytest_configure(config: pytest.Config) -> None:
    starts_workers = bool(config.getoption("numprocesses", None)) and not hasattr(config, "workerinput")
    if not starts_workers:
        network.leave()
    # Each worker collects all tests, and would import these whole for it.
    lazy_import.import_lazily()
    run_server.import_lazily(run_server.GRAMMAR_MODULE, "is_valid_syntax")
    _hear(signal.SIGINT, signal.default_int_handler)
    if sys.platform != "win32":
        _hear(signal.SIGHUP, signal.SIG_DFL)


def _hear(number: signal.Signals, handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    """A job in the background may have been told to ignore it, and what it starts would ignore it too."""
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def its_network(request: pytest.FixtureRequest) -> Iterator[None]:
    with network.outside() if request.node.get_closest_marker("registry") else nullcontext():
        yield


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing a test does can reach the home, the agent, the clouds or the runtimes of who runs the tests."""
    home = Path(tempfile.mkdtemp(prefix="rr-home-"))
    for name in list(os.environ):
        if name.startswith(PERSONAL):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    yield home
    shutil.rmtree(home, ignore_errors=True)  # what still writes into it is the leak guard's to report


@pytest.fixture(scope="session")
def frozen_modules() -> set[str]:
    """Those whose objects the garbage collector passes over."""
    return set()


@pytest.fixture(autouse=True)
def quick_collection(frozen_modules: set[str]) -> None:
    """A collection goes through what the test has made, not through all that was imported before it."""
    if not frozen_modules.issuperset(sys.modules):
        gc.collect()
        gc.freeze()
        frozen_modules.update(sys.modules)


@pytest.fixture(autouse=True)
def nothing_leaks(its_network: None, own_home: Path) -> Iterator[None]:
    """Fixtures of a wider scope are set up before this one, so what they hold is not counted."""
    me = psutil.Process()
    children, descriptors = set(me.children(recursive=True)), me.num_fds()
    yield
    until = time.monotonic() + SETTLE_S
    while time.monotonic() < until:
        left = [child for child in me.children(recursive=True) if child not in children and _runs(child)]
        if not left and me.num_fds() <= descriptors:
            return
        gc.collect()  # clients of Google hold their connections until they are collected
        time.sleep(0.05)
    assert not left, f"processes were left: {left}"
    assert me.num_fds() <= descriptors, f"{me.num_fds() - descriptors} file descriptors were left: {me.open_files()}"


@pytest.fixture
def world(own_home: Path) -> Iterator[World]:
    """A person's computer: its own state and profiles; everything on it is taken down afterwards."""
    here = World(own_home)
    yield here
    here.end()


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
