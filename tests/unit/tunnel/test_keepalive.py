"""When a link counts as dead, and what makes it doubtful: by clocks and networks that the test sets."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import psutil
import pytest

from remote_runtime.core.deadline import Deadline, wait_until
from remote_runtime.core.errors import SshError
from remote_runtime.tunnel.keepalive import MAX_SILENT_INTERVALS, Keepalive
from remote_runtime.tunnel.network_change import TICK_S, NetworkChangeDetector, local_network


@dataclass
class Scene:
    """A computer's clocks and addresses."""

    monotonic: float = 0.0
    wall: float = 1e9
    addresses: frozenset[str] = frozenset({"10.0.0.1"})

    def disturbances(self) -> NetworkChangeDetector:
        clocks = (lambda: self.monotonic, lambda: self.wall)
        return NetworkChangeDetector("192.0.2.1", clocks=clocks, network=lambda peer: self.addresses)

    def passes(self, monotonic: float, wall: float) -> None:
        self.monotonic += monotonic
        self.wall += wall


@dataclass
class Link:
    """``asked``: how long each check was willing to wait."""

    answers: bool = True
    closed: bool = False
    why: str = ""
    asked: list[float] = field(default_factory=list)
    was_asked: threading.Event = field(default_factory=threading.Event)
    heard_at: float = field(default_factory=time.monotonic)

    @property
    def silent_s(self) -> float:
        return time.monotonic() - self.heard_at

    def check(self, within_s: float) -> float:
        self.asked.append(within_s)
        self.was_asked.set()
        if not self.answers:
            raise SshError("ssh-unreachable", "the SSH connection is lost", "no answer")
        self.heard_at = time.monotonic()
        return 1.0

    def close(self, why: str = "") -> None:
        self.closed, self.why = True, why


def test_sleep_is_told_by_whichever_clock_went_on() -> None:
    scene = Scene()
    disturbances = scene.disturbances()
    for monotonic, wall, told in ((TICK_S, TICK_S, False), (60, 60, True), (0.5, 60, True), (TICK_S, -3600, False)):
        scene.passes(monotonic, wall)
        assert bool(disturbances.poll()) is told, (monotonic, wall)
    scene.passes(10, 10)
    assert disturbances.poll(15.0) == "", "less than the caller meant to wait"
    scene.passes(2, 32)
    assert "30 s" in disturbances.poll(15.0), "a change woke the caller after a suspend"
    scene.passes(60, 60)
    disturbances.reset()
    assert disturbances.poll() == "", "the time passed for a reason"


def test_another_address_is_told_once() -> None:
    scene = Scene()
    disturbances = scene.disturbances()
    scene.addresses = frozenset({"10.0.0.1", "10.0.0.2"})
    assert "network" in disturbances.poll()
    assert disturbances.poll() == ""


def test_this_computers_network_is_the_same_from_one_look_to_the_next() -> None:
    assert local_network("127.0.0.1") == local_network("127.0.0.1")
    assert "127.0.0.1" in local_network("not an address")


@pytest.mark.parametrize("function", ["net_if_stats", "net_if_addrs"])
@pytest.mark.parametrize("error", [PermissionError("forbidden"), psutil.AccessDenied()], ids=["system", "psutil"])
def test_a_system_that_lists_no_interfaces_still_tells_where_we_speak_from(
    monkeypatch: pytest.MonkeyPatch, function: str, error: Exception
) -> None:
    def refuse() -> None:
        raise error

    monkeypatch.setattr(psutil, function, refuse)
    assert "from 127.0.0.1" in local_network("127.0.0.1")


def test_a_link_that_says_nothing_is_dead_within_three_intervals() -> None:
    link = Link(answers=False)
    began = time.monotonic()
    Keepalive(link, 0.2, Scene().disturbances)
    wait_until(lambda: link.closed, Deadline(20), every_s=0.01, what="the end of the link")
    assert time.monotonic() - began >= 0.2
    assert [round(0.2 + within_s, 3) for within_s in link.asked] == [round(MAX_SILENT_INTERVALS * 0.2, 3)]
    assert "no response" in link.why


def test_a_link_that_is_heard_is_not_asked() -> None:
    link, other = Link(), Link()
    pulses = [Keepalive(each, 0.2, Scene().disturbances) for each in (link, other)]
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        link.heard_at = time.monotonic()
        time.sleep(0.01)
    for pulse in pulses:
        pulse.stop()
    assert other.asked, "one that is not heard is asked meanwhile"
    assert not link.asked


def test_a_stop_is_told_even_if_no_clock_shows_it() -> None:
    link = Link(answers=False)
    pulse = Keepalive(link, 3600.0, Scene().disturbances)
    pulse.on_continued()
    wait_until(lambda: link.closed, Deadline(20), every_s=0.01, what="the end of the link")
    assert "this process was stopped" in link.why


def test_a_link_is_asked_at_once_and_given_little_time_after_sleep() -> None:
    scene, link = Scene(), Link()
    begun = threading.Event()

    def watch() -> NetworkChangeDetector:
        disturbances = scene.disturbances()
        begun.set()
        return disturbances

    pulse = Keepalive(link, 3600.0, watch)
    assert begun.wait(20)
    scene.passes(600, 600)
    pulse.on_continued()
    assert link.was_asked.wait(20)
    assert link.asked == [3.0]
    assert not link.closed
    link.answers = False
    scene.passes(0, 600)
    pulse.on_continued()
    wait_until(lambda: link.closed, Deadline(20), every_s=0.01, what="the end of the link")
    assert "suspended" in link.why
    pulse.stop()
