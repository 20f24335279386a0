"""What is kept of a kernel's messages: numbers, limits, and what clients have received."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_runtime.bridge.outputs.budget import OutputBudget, OutputLimits
from remote_runtime.bridge.outputs.client import hash_of_id, hash_of_message
from remote_runtime.bridge.outputs.intervals import IntervalSet
from remote_runtime.bridge.outputs.record import KernelRecord

SMALL = OutputLimits(kernel_bytes=40_000, total_bytes=60_000, min_free_bytes=0, min_free_share=0.0, memory_bytes=4_000)


class FakeTransport:
    """Its client is ``attached``, and has got the first ``got`` messages."""

    def __init__(self) -> None:
        self.attached = True
        self.sent = 0
        self.got = 0

    def is_attached(self) -> bool:
        return self.attached

    def wrote(self, done: object) -> int:
        self.sent += 1
        return self.sent

    def arrived(self) -> int:
        return self.got


def parts(number: int, text: str = "", *, kind: str = "stream", request: str = "r") -> list[bytes]:
    """A message as it comes from the kernel."""
    content = {"name": "stdout", "text": text or f"{number} "} if kind == "stream" else {"code": text}
    header, parent = {"msg_id": f"m{number}", "msg_type": kind}, {"msg_id": request}
    return [
        b"topic",
        b"<IDS|MSG>",
        b"signature",
        *(json.dumps(each).encode() for each in (header, parent, {}, content)),
    ]


def websocket_message(number: int) -> str:
    return json.dumps({"header": {"msg_id": f"m{number}"}, "parent_header": {"msg_id": "r"}})


@pytest.fixture
def budget(tmp_path: Path) -> OutputBudget:
    return OutputBudget(str(tmp_path / "outputs"), SMALL)


@pytest.fixture
def record(budget: OutputBudget) -> KernelRecord:
    return KernelRecord("k", budget)


def recorded(record: KernelRecord) -> str:
    messages = [message for block in record.read(0, set()) for message in block]
    return "".join(json.loads(message.content)["text"] for message in messages if message.type == "stream")


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40))), st.integers(0, 40), st.integers(0, 40))
def test_an_interval_set_has_what_was_added(added: list[tuple[int, int]], start: int, end: int) -> None:
    intervals, numbers = IntervalSet(), set[int]()
    for low, high in added:
        intervals.add(low, high)
        numbers |= set(range(low, high))
    gaps = [number for low, high in intervals.gaps(start, end) for number in range(low, high)]
    assert gaps == [number for number in range(start, end) if number not in numbers]
    assert intervals.covers(start, end) == (not gaps)
    intervals.forget_below(start)
    later = [number for low, high in intervals.gaps(start, 50) for number in range(low, high)]
    assert later == [number for number in range(start, 50) if number not in numbers]


def test_without_clients_all_is_recorded(record: KernelRecord) -> None:
    for number in range(5):
        record.on_published(parts(number))
    assert recorded(record) == "0 1 2 3 4 "


def test_what_arrived_is_not_recorded_and_the_rest_is_once_the_client_is_gone(record: KernelRecord) -> None:
    transport = FakeTransport()
    client = record.add_client(transport)
    for number in range(6):
        record.on_published(parts(number))
        if number < 5:
            client.on_written(websocket_message(number), None)
    transport.got = 3
    assert recorded(record) == ""
    transport.attached = False
    assert recorded(record) == "3 4 5 "
    transport.attached = True
    assert recorded(record) == ""
    record.remove_client(client)
    assert recorded(record) == "3 4 5 "


def test_it_does_not_matter_who_gets_a_message_first(record: KernelRecord) -> None:
    transport = FakeTransport()
    client = record.add_client(transport)
    for number in range(4):
        client.on_written(websocket_message(number), None)
    for number in range(6):
        record.on_published(parts(number))
    transport.got = 4
    record.remove_client(client)
    assert recorded(record) == "4 5 "


def test_a_client_may_leave_before_the_record_gets_what_it_has_received(record: KernelRecord) -> None:
    transport = FakeTransport()
    client = record.add_client(transport)
    for number in range(4):
        client.on_written(websocket_message(number), None)
    transport.got = 3
    record.remove_client(client)
    for number in range(6):
        record.on_published(parts(number))
    assert recorded(record) == "3 4 5 "


def test_messages_before_the_first_that_a_client_is_sent_are_recorded(record: KernelRecord) -> None:
    transport = FakeTransport()
    client = record.add_client(transport)
    for number in range(4):
        record.on_published(parts(number))
    client.on_written(websocket_message(2), None)
    client.on_written(websocket_message(3), None)
    transport.got = 2
    assert recorded(record) == "0 1 "


def test_of_a_replay_only_what_arrives_is_no_longer_recorded(record: KernelRecord) -> None:
    for number in range(5):
        record.on_published(parts(number))
    transport = FakeTransport()
    client = record.add_client(transport)
    for number in (1, 2, 4):  # Jupyter limits the rate of a replay too
        client.on_written(websocket_message(number), None)
    assert recorded(record) == "0 1 2 3 4 "
    transport.got = 2
    assert recorded(record) == "0 3 4 "


def test_a_message_that_one_of_two_clients_has_is_not_recorded(record: KernelRecord) -> None:
    first, second = FakeTransport(), FakeTransport()
    clients = [record.add_client(transport) for transport in (first, second)]
    for number in range(4):
        record.on_published(parts(number))
        for client in clients:
            client.on_written(websocket_message(number), None)
    first.got, second.got = 1, 3
    for client in clients:
        record.remove_client(client)
    assert recorded(record) == "3 "


def test_the_code_of_a_request_is_kept_though_it_was_received(record: KernelRecord) -> None:
    transport = FakeTransport()
    client = record.add_client(transport)
    record.on_published(parts(0, "code", kind="execute_input"))
    client.on_written(websocket_message(0), None)
    transport.got = 1
    record.on_published(parts(1))
    record.remove_client(client)
    [messages] = record.read(0, set())
    assert [(message.type, message.seq < 0) for message in messages] == [("execute_input", True), ("stream", False)]


def test_the_oldest_are_removed_beyond_the_limit_of_a_kernel(record: KernelRecord, budget: OutputBudget) -> None:
    for number in range(200):
        record.on_published(parts(number, f"{number} ".rjust(1000)))
    numbers = [int(number) for number in recorded(record).split()]
    assert numbers == list(range(numbers[0], 200))
    assert 25 <= len(numbers) <= 45
    assert record.size().cut.messages == numbers[0]
    assert record.size().cut.why == "the limit was reached"
    assert budget.used <= SMALL.kernel_bytes


def test_all_kernels_share_a_limit_and_the_oldest_of_all_are_removed(budget: OutputBudget) -> None:
    first, second = KernelRecord("a", budget), KernelRecord("b", budget)
    for record in (first, second):
        for number in range(38):
            record.on_published(parts(number, f"{number} ".rjust(1000)))
    assert budget.used <= SMALL.total_bytes
    assert first.size().cut.messages > 0
    assert second.size().cut.messages == 0


def test_nothing_is_written_while_the_disk_is_nearly_full(tmp_path: Path) -> None:
    budget = OutputBudget(str(tmp_path / "outputs"), SMALL._replace(min_free_bytes=1 << 60))
    record = KernelRecord("k", budget)
    for number in range(20):
        record.on_published(parts(number, f"{number} ".rjust(1000)))
    assert list((tmp_path / "outputs").iterdir()) == []
    assert budget.paused == record.size().cut.why == "the disk is nearly full"
    assert [int(number) for number in recorded(record).split()][-1] == 19


def test_a_huge_message_is_left_out_and_said(record: KernelRecord) -> None:
    record.on_published(parts(0, "x" * 30_000))
    record.on_published(parts(1))
    assert recorded(record) == "1 "
    assert record.size().cut.why == "a message was too large"


def test_of_a_huge_stream_message_the_last_lines_are_kept(record: KernelRecord) -> None:
    lines = [f"{number} \\n \\\\n é" for number in range(3000)]
    record.on_published(parts(0, "\n".join(lines)))
    kept = recorded(record).split("\n")
    assert 100 < len(kept) < 2900
    assert kept == lines[-len(kept) :]
    assert record.size().cut.why == "a message was too large"


def test_files_are_private_and_gone_with_what_they_hold(record: KernelRecord, tmp_path: Path) -> None:
    client = record.add_client(transport := FakeTransport())
    for number in range(20):
        record.on_published(parts(number, "x" * 500))
        client.on_written(websocket_message(number), None)
    files = list((tmp_path / "outputs").iterdir())
    assert files
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    transport.got = 20
    record.remove_client(client)
    assert list((tmp_path / "outputs").iterdir()) == []
    assert record.size() == (0, 0, (0, 0, ""))


def test_an_old_server_s_files_are_removed(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("x")
    OutputBudget(str(tmp_path), SMALL)
    assert list(tmp_path.iterdir()) == []
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "noise",
    [[], [b"<IDS|MSG>"], [b"<IDS|MSG>", b"", b"[]", b"{}", b"{}", b"{}"], [b"<IDS|MSG>", b"", b"{", b"", b"", b""]],
)
def test_what_is_no_message_is_ignored(record: KernelRecord, noise: list[bytes]) -> None:
    record.on_published(noise)
    assert record.size().requests == 0


def test_the_id_of_a_message_is_found_in_each_format_of_jupyter_s_websockets() -> None:
    header = b'{"msg_id": "m1", "msg_type": "stream"}'
    offsets = b"".join(number.to_bytes(8, "little") for number in (6, 56, 61, 61 + len(header)))
    binary = offsets + b"iopub" + header + b'{"msg_id": "r"}'
    for message in (websocket_message(1), websocket_message(1).encode(), binary):
        assert hash_of_message(message) == hash_of_id(b"m1")
    assert hash_of_message("no message") is None
