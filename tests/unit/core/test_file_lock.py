"""Locks between real processes: what the state directory's honesty rests on."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from remote_runtime.core import file_lock
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import DeadlinePassed, Interrupted

HOLD = """
import sys
from pathlib import Path
from remote_runtime.core import file_lock
from remote_runtime.core.deadline import Deadline
with file_lock.locked(Path(sys.argv[1]), Deadline(20)):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until a line comes."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "held\n"
            yield child
        finally:
            child.kill()


def test_a_lock_is_held_across_processes_until_it_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "work.alive"
    assert not file_lock.is_locked(path), "a lock that never was is not held"
    with holder(path) as child:
        assert file_lock.is_locked(path)
        with (
            pytest.raises(DeadlinePassed, match=r"waiting for the lock work\.alive"),
            file_lock.locked(path, Deadline(0.1)),
        ):
            pass
        child.communicate("\n", timeout=10)
        assert not file_lock.is_locked(path)


def test_a_killed_holder_lets_go_and_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "work.alive"
    with holder(path) as child:
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    assert not file_lock.is_locked(path)
    assert path.exists()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with file_lock.locked(path, Deadline(1.0)):
        assert file_lock.is_locked(path), "also a holder in this process is seen"


def test_who_waited_for_a_lock_whose_file_was_deleted_locks_the_new_file(tmp_path: Path) -> None:
    path, got = tmp_path / "work.busy", threading.Event()

    def wait() -> None:
        with file_lock.locked(path, Deadline(10.0)):
            got.set()
            ended.wait(10.0)

    ended, waiter = threading.Event(), threading.Thread(target=wait)
    with file_lock.locked(path, Deadline(1.0)):
        waiter.start()
        assert not got.wait(0.2)
        path.unlink()
    assert got.wait(5.0)
    assert file_lock.is_locked(path)
    ended.set()
    waiter.join()


def test_probes_take_neither_each_other_nor_themselves_for_a_holder(tmp_path: Path) -> None:
    path = tmp_path / "work.alive"
    path.touch()
    seen: list[bool] = []
    probers = [
        threading.Thread(target=lambda: seen.extend(file_lock.is_locked(path) for _ in range(500))) for _ in range(4)
    ]
    for prober in probers:
        prober.start()
    for prober in probers:
        prober.join()
    assert len(seen) == 2000
    assert not any(seen)


def test_probes_do_not_keep_a_holder_from_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "work.alive"
    path.touch()
    stop = threading.Event()

    def probe() -> None:
        while not stop.is_set():
            file_lock.is_locked(path)

    prober = threading.Thread(target=probe)
    prober.start()
    try:
        for _ in range(5):
            with file_lock.locked(path, Deadline(2.0)):
                assert file_lock.is_locked(path)
    finally:
        stop.set()
        prober.join()


def test_one_of_many_who_want_it_has_it_at_a_time(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "work.busy", 0, 0
    guard = threading.Lock()

    def enter() -> None:
        nonlocal inside, most
        with file_lock.locked(path, Deadline(20.0)):
            with guard:
                inside += 1
                most = max(most, inside)
            with guard:
                inside -= 1

    wanting = [threading.Thread(target=enter) for _ in range(8)]
    for thread in wanting:
        thread.start()
    for thread in wanting:
        thread.join()
    assert most == 1
    assert not file_lock.is_locked(path)


def test_waiting_for_a_lock_can_be_called_off(tmp_path: Path) -> None:
    path, called_off = tmp_path / "work.busy", threading.Event()
    with file_lock.locked(path, Deadline(1.0)):
        caller = threading.Timer(0.05, called_off.set)
        caller.start()
        with pytest.raises(Interrupted), file_lock.locked(path, Deadline(60.0, called_off)):
            pass
        caller.join()
