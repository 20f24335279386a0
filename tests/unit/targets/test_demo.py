"""Whether a demo machine runs, told by its lock and not by a number that another process may have by now."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from remote_runtime.core import file_lock
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import DeadlinePassed
from remote_runtime.targets.demo import LOCK, DemoProcess


@pytest.fixture
def left(tmp_path: Path) -> DemoProcess:
    """What a demo machine leaves when the computer is switched off; its pid belongs to another process since."""
    home = tmp_path / "demo.machine"
    home.mkdir()
    (home / LOCK).write_text("0123")
    (home / "machine.json").write_text(json.dumps({"pid": os.getpid(), "shutdown": "http://127.0.0.1:1/"}))
    return DemoProcess(home, "demo")


def test_a_pid_that_another_process_has_now_is_no_demo_machine(left: DemoProcess) -> None:
    assert not left.is_running()


def test_what_a_demo_machine_left_is_removed_whoever_has_its_pid_now(left: DemoProcess) -> None:
    left.stop(Deadline(5))
    assert not left.home.exists()


def test_a_held_lock_is_a_demo_machine_whose_folder_stays(left: DemoProcess) -> None:
    with file_lock.locked(left.home / LOCK, Deadline(5)):
        assert left.is_running()
        (left.home / "machine.json").unlink()  # as while it starts
        assert left.is_running()
        with pytest.raises(DeadlinePassed):
            left.stop(Deadline(0.2))
    assert left.home.exists()


def test_one_that_is_just_ending_is_waited_for(left: DemoProcess) -> None:
    ended = threading.Event()

    def end_slowly() -> None:
        with file_lock.locked(left.home / LOCK, Deadline(5)):
            (left.home / "machine.json").unlink()
            ended.wait(5)

    machine = threading.Thread(target=end_slowly)
    machine.start()
    while (left.home / "machine.json").exists():
        ended.wait(0.01)
    threading.Timer(0.2, ended.set).start()
    left.stop(Deadline(5))
    machine.join(5)
    assert not left.home.exists()
