"""What a keeper relies on: its record survives a full disk, its orders a signal at any moment, its limits a crowd."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytest

from remote_runtime.core.errors import LocalError
from remote_runtime.core.model import Instance, Runtime, TakeDownResult
from remote_runtime.keeper import results
from remote_runtime.keeper.requests import ControlRequest, RequestQueue
from remote_runtime.keeper.runtime_record import RuntimeRecord
from remote_runtime.keeper.subscribers import Subscribers
from remote_runtime.state import store
from remote_runtime.state.ipc import Message
from remote_runtime.state.store import StateDir

VM = Instance("gce", "my-vm", "127.0.0.1", 22, "RUNNING", "42", "z", "p", "compute.42")


class FakeClient:
    """The channel of a `down`."""

    def __init__(self) -> None:
        self.received: list[Message] = []

    def send(self, message: Message) -> None:
        self.received.append(message)


@pytest.fixture
def record(tmp_path: Path) -> RuntimeRecord:
    """It was saved once, and its directory is gone since."""
    state = StateDir(tmp_path / "state")
    state.path.mkdir()
    record = RuntimeRecord(state, Runtime(name="work", profile_path="", target={}, client_id="c", unfinished=True))
    record.update()
    state.file_path("work", "json").unlink()
    state.path.rmdir()
    return record


def test_a_state_that_cannot_be_saved_is_kept_and_saved_later(record: RuntimeRecord, tmp_path: Path) -> None:
    record.update(state="ready", why="")
    assert record.runtime.state == "ready"
    (tmp_path / "state").mkdir()
    record.update(rtt_ms=2.0)
    saved = store.load(StateDir(tmp_path / "state"), "work")
    assert saved is not None
    assert (saved.state, saved.rtt_ms) == ("ready", 2.0)


def test_what_may_cost_money_is_not_done_unless_it_is_written_down(record: RuntimeRecord) -> None:
    with pytest.raises(LocalError, match="Can't write") as caught:
        record.save_or_fail(instance=VM)
    assert caught.value.code == "state-dir-unusable"
    assert os.strerror(errno.ENOENT) in caught.value.why
    assert record.runtime.instance == VM
    with pytest.raises(LocalError):
        record.save_or_fail(unfinished=False)


def test_a_fact_that_is_written_down_already_needs_no_room(record: RuntimeRecord) -> None:
    record.save_or_fail(state="ready", unfinished=True)
    with pytest.raises(LocalError):
        record.save_or_fail(unfinished=False)
    with pytest.raises(LocalError):
        record.save_or_fail(unfinished=False)


def test_a_state_file_that_cannot_be_removed_is_told(record: RuntimeRecord, tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    state.file_path("work", "json").mkdir(parents=True)
    client = FakeClient()
    end = TakeDownResult("work", True, "stopped", None)
    results.report_taken_down(end, ControlRequest("down", channel=cast("Any", client)), record, Subscribers())
    (answer,) = client.received
    (left,) = answer["remains"]
    assert left.startswith("its state file can't be removed: ")


def _interrupt_at(moment: int | None, requests: RequestQueue) -> int:
    """Terminates between two lines of what Python does for ``next``, as a signal's handler may; how many lines it ran.

    None: no termination."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        if event == "line" and lines - 1 == moment:
            requests.terminate()
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        requests.next(0.0)
    finally:
        sys.settrace(previous)
    return lines


@pytest.mark.parametrize("moment", range(_interrupt_at(None, RequestQueue())))
def test_a_signal_at_any_moment_of_the_work_calls_it_off(moment: int) -> None:
    requests = RequestQueue()
    interrupted = threading.Thread(target=_interrupt_at, args=(moment, requests), daemon=True)
    interrupted.start()
    interrupted.join(5)
    assert not interrupted.is_alive()
    assert requests.terminated, "the moment was not reached"
    assert requests.cancelled.wait(5)


def test_a_keeper_may_have_as_many_connections_open_as_the_machine_allows() -> None:
    code = (
        "import resource as r; h = min(r.getrlimit(r.RLIMIT_NOFILE)[1], 4096); r.setrlimit(r.RLIMIT_NOFILE, (256, h))\n"
        "from remote_runtime.keeper.__main__ import allow_many_files\n"
        "allow_many_files()\n"
        "print(r.getrlimit(r.RLIMIT_NOFILE)[0] == h)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "True"
