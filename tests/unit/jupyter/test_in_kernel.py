"""The items of a program that have not arrived, and the modules that are sent to a kernel."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from remote_runtime.jupyter.in_kernel.items import ITEM_BYTES, WINDOW_BYTES, ItemQueue
from remote_runtime.jupyter.program import KernelProgram


@pytest.fixture
def queue() -> ItemQueue:
    return ItemQueue(threading.Condition(threading.RLock()))


def sent(queue: ItemQueue) -> list[int]:
    with queue.changed:
        return [item.number for item in iter(queue.next_unsent, None)]


def test_what_is_not_acknowledged_is_sent_again_in_order(queue: ItemQueue) -> None:
    for text in ("a", "b", "c"):
        queue.append("ask", {"prompt": text})
    assert sent(queue) == [1, 2, 3]
    with queue.changed:
        queue.acknowledge(1)
        queue.send_again()
    queue.append("ask", {"prompt": "d"})
    assert sent(queue) == [2, 3, 4]
    with queue.changed:
        queue.acknowledge(4)
    assert queue.is_empty()


def test_small_writes_of_a_stream_become_one_item_up_to_a_size(queue: ItemQueue) -> None:
    for text in (b"1", b"2"):
        queue.append("stdout", text)
    queue.append("stderr", b"3")
    queue.append("stdout", b"4" * ITEM_BYTES)
    queue.append("stdout", b"\xff5")
    with queue.changed:
        documents = [item.document() for item in iter(queue.next_unsent, None)]
    assert documents == [{"stdout": "12"}, {"stderr": "3"}, {"stdout": "4" * ITEM_BYTES}, {"stdout64": "/zU="}]


def test_a_queue_is_full_until_the_client_has_received_enough(queue: ItemQueue) -> None:
    while not queue.is_full():
        queue.append("stdout", b"x" * ITEM_BYTES)
    assert len(sent(queue)) > WINDOW_BYTES // ITEM_BYTES
    assert queue.is_full()
    with queue.changed:
        queue.acknowledge(2)
    assert not queue.is_full()


def test_a_queue_without_a_client_keeps_nothing_that_was_published(queue: ItemQueue) -> None:
    queue.append("stdout", b"x" * 2 * WINDOW_BYTES)
    queue.is_away = True
    assert sent(queue) == [1]
    assert queue.is_empty()
    assert not queue.is_full()


def test_the_request_is_one_statement_that_python_3_8_understands() -> None:
    code = KernelProgram("print('it''s')", "a b.py", arguments=("'",)).request_code()
    subprocess.run(
        [sys.executable, "-c", "import ast, sys; ast.parse(sys.stdin.read())"], input=code.encode(), check=True
    )
    assert code.startswith("exec(")


def test_an_item_that_was_sent_does_not_change_when_it_is_sent_again(queue: ItemQueue) -> None:
    """The client may have it already, and ignores it then."""
    queue.append("stdout", b"a")
    assert sent(queue) == [1]
    with queue.changed:
        queue.send_again()
        queue.append("stdout", b"b")
        again = [(item.number, bytes(item.value)) for item in iter(queue.next_unsent, None)]
    assert again == [(1, b"a"), (2, b"b")]
