"""What the system tells of its network, and how soon; this process is in a network of its own (``network.leave``)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from remote_runtime.tunnel.network_change import TICK_S
from remote_runtime.tunnel.system_changes import SystemChanges

LONG_S = 60.0


@pytest.fixture
def changes() -> Iterator[SystemChanges]:
    opened = SystemChanges()
    yield opened
    opened.close()


def soon(call: Callable[[], None]) -> threading.Timer:
    """In another thread, when the test waits."""
    timer = threading.Timer(0.3, call)
    timer.start()
    return timer


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="changing Linux's network takes root")
def test_a_new_address_ends_the_wait_at_once_and_a_series_of_them_few_waits(changes: SystemChanges) -> None:
    changes.listen()
    assert changes.is_reported
    address = ("127.0.0.9/32", "dev", "lo")

    def change() -> None:
        for word in ("add", "delete") * 20:
            subprocess.run(["ip", "address", word, *address], check=True)

    series = soon(change)
    began = time.monotonic()
    assert changes.wait(LONG_S) == LONG_S
    assert time.monotonic() - began < LONG_S / 2
    series.join()
    looks, looked_at = 0, time.monotonic()
    while changes.wait(2 * TICK_S) and time.monotonic() - looked_at < 2 * TICK_S:
        looks, looked_at = looks + 1, time.monotonic()
    assert 0 < looks <= 3, "each look costs, and others may change the network all the time"


def test_another_thread_ends_the_wait(changes: SystemChanges) -> None:
    changes.listen()
    soon(changes.wake)
    began = time.monotonic()
    changes.wait(LONG_S)
    assert time.monotonic() - began < LONG_S / 2


def test_a_python_without_ctypes_looks_every_tick(changes: SystemChanges, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", None)
    changes.listen()
    assert not changes.is_reported
    assert changes.wait(LONG_S) == TICK_S


def test_a_system_that_tells_nothing_is_looked_at_every_tick(changes: SystemChanges) -> None:
    began = time.monotonic()
    assert changes.wait(LONG_S) == TICK_S
    assert TICK_S <= time.monotonic() - began < LONG_S / 2
    assert changes.wait(0.01) == 0.01
