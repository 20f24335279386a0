"""The timers of the forwarder's loop, with a clock that the test sets."""

from __future__ import annotations

import heapq
from functools import partial

import pytest

from remote_runtime.ssh.forwarder.timers import Alarm, TimerQueue


class SetClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_calls_are_made_when_due_in_their_order() -> None:
    clock = SetClock()
    made: list[int] = []
    timers = TimerQueue(clock)
    assert timers.next_delay_s() is None
    delays = [2.0, 0.0, 0.5, 1.0, 0.5, 2.0, 0.0, 0.5, 1.0]
    for number, delay_s in enumerate(delays):
        timers.add(delay_s, partial(made.append, number))
    while (wait_s := timers.next_delay_s()) is not None:
        clock.now += wait_s
        timers.run_due()
        assert len(made) == sum(delay_s <= clock.now - 100.0 for delay_s in delays)
    assert made == [number for _, number in sorted((delay_s, number) for number, delay_s in enumerate(delays))]


def test_a_cancelled_timer_wakes_nobody() -> None:
    clock = SetClock()
    made: list[str] = []
    timers = TimerQueue(clock)
    first, second = timers.add(1.0, lambda: made.append("first")), timers.add(3.0, lambda: made.append("second"))
    first.cancel()
    assert timers.next_delay_s() == 3.0
    clock.now += 5.0
    assert timers.next_delay_s() == 0.0  # late is not negative
    timers.run_due()
    second.cancel()
    assert (made, second.is_pending) == (["second"], False)


def test_a_call_may_cancel_another_that_is_due_and_add_one_for_later() -> None:
    clock = SetClock()
    made: list[str] = []
    timers = TimerQueue(clock)

    def first() -> None:
        made.append("first")
        second.cancel()
        timers.add(0.0, lambda: made.append("third"))

    timers.add(1.0, first)
    second = timers.add(1.0, lambda: made.append("second"))
    clock.now += 1.0
    timers.run_due()
    assert made == ["first"]
    timers.run_due()
    assert made == ["first", "third"]


def test_an_error_of_a_call_reaches_the_loop() -> None:
    clock = SetClock()
    timers = TimerQueue(clock)
    timers.add(0.0, lambda: heapq.heappop([]))
    with pytest.raises(IndexError):
        timers.run_due()


def test_timers_that_were_cancelled_do_not_pile_up() -> None:
    timers = TimerQueue(SetClock())
    kept = timers.add(900.0, lambda: None)
    for _ in range(10_000):
        timers.add(600.0, lambda: None).cancel()
        assert len(timers) < 200
    assert kept.is_pending
    assert timers.next_delay_s() == 900.0


def test_an_alarm_waits_once_for_the_earliest_time_it_was_set_to() -> None:
    clock = SetClock()
    made: list[float] = []
    timers = TimerQueue(clock)
    alarm = Alarm(timers.add, lambda: made.append(clock.now), clock)
    for delay_s in (5.0, 3.0, 4.0):
        alarm.set(delay_s)
    while (wait_s := timers.next_delay_s()) is not None:
        clock.now += wait_s
        timers.run_due()
    assert made == [103.0]
    alarm.set(1.0)
    alarm.cancel()
    assert timers.next_delay_s() is None
