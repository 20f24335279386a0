from __future__ import annotations

import threading
import time

import pytest

from remote_runtime.core.deadline import Deadline, wait_until
from remote_runtime.core.errors import DeadlinePassed, Interrupted


def test_the_first_real_answer_ends_the_wait() -> None:
    answers = iter([None, False, "there"])
    assert wait_until(lambda: next(answers), Deadline(5.0), every_s=0.001, what="finding it") == "there"


@pytest.mark.parametrize("answer", [0, "", [], 0.0])
def test_an_empty_answer_is_an_answer(answer: object) -> None:
    assert wait_until(lambda: answer, Deadline(0.0), every_s=1.0, what="counting") == answer


def test_a_wait_that_ends_names_what_was_waited_for() -> None:
    with pytest.raises(DeadlinePassed, match="starting the machine took more than 0 s"):
        wait_until(lambda: None, Deadline(0.05), every_s=0.01, what="starting the machine")


def test_a_probe_is_asked_even_when_no_time_is_left() -> None:
    assert wait_until(lambda: True, Deadline(-1.0), every_s=1.0, what="looking") is True


def test_a_pause_never_outlasts_the_deadline() -> None:
    began = time.monotonic()
    with pytest.raises(DeadlinePassed):
        wait_until(lambda: None, Deadline(0.05), every_s=60.0, what="sleeping")
    assert time.monotonic() - began < 5.0


def test_calling_off_ends_a_wait_at_once_in_every_deadline_made_of_it() -> None:
    called_off = threading.Event()
    deadline = Deadline(60.0, called_off).within(50.0).within(40.0)
    caller = threading.Timer(0.02, called_off.set)
    caller.start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        wait_until(lambda: None, deadline, every_s=30.0, what="waiting")
    assert time.monotonic() - began < 5.0
    caller.join()
    with pytest.raises(Interrupted):
        deadline.check()


def test_work_that_was_called_off_is_not_even_begun() -> None:
    asked: list[str] = []
    called_off = threading.Event()
    called_off.set()
    with pytest.raises(Interrupted):
        wait_until(lambda: asked.append("asked"), Deadline(1.0, called_off), every_s=1.0, what="asking")
    assert asked == []


def test_a_shorter_deadline_is_never_later_than_its_own() -> None:
    deadline = Deadline(10.0)
    assert deadline.within(1.0).remaining_s() <= 1.0
    assert deadline.within(600.0).remaining_s() <= 10.0
    assert Deadline(-5.0).within(600.0).passed()
    assert Deadline(-5.0).remaining_s() == 0.0
