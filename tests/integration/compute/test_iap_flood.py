"""A relay that never stops costs neither the memory nor the end of the connection."""

from __future__ import annotations

import threading
import time

import psutil
import pytest

from remote_runtime.compute.iap.keepalive import RelayTimeouts
from remote_runtime.compute.iap.tunnel import open_tunnel
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import SshError
from tests.support.environment.waiting import eventually
from tests.support.servers.flooding_relay import CONNECTED, FRAGMENT, NO_MESSAGE, PING, PONG, TEXT, Flood, frame
from tests.support.servers.iap import INSTANCE

UNKNOWN, NO_DATA = bytes.fromhex("0063"), bytes.fromhex("0004 00000000")
ONE_BYTE, PADDED = bytes.fromhex("0004 00000001 61"), bytes.fromhex("0004 00000001 61") + bytes(110)
ACKNOWLEDGED = bytes.fromhex("0007 0000000000000000")
GROWS_AT_MOST_BYTES = 48 << 20
LIMITS = RelayTimeouts(silent_s=1.0, attempt_s=1.0, resume_s=1.0)


@pytest.mark.parametrize("message", [UNKNOWN, UNKNOWN + bytes(100)])
def test_a_relay_that_does_not_come_to_the_point_is_left(message: bytes) -> None:
    with Flood(frame(message), frame(message)) as relay, pytest.raises(SshError) as raised:
        open_tunnel(INSTANCE, environ=relay.environ, deadline=Deadline(20), timeouts=LIMITS)
    assert raised.value.code == "iap-unreachable"
    eventually(nobody_carries, within_s=10)


@pytest.mark.parametrize(
    "flood",
    [PING, frame(NO_DATA), frame(ONE_BYTE), frame(PADDED), frame(ACKNOWLEDGED), frame(UNKNOWN)],
    ids=["ping", "no-data", "one-byte", "padded", "acknowledged", "unknown"],
)
def test_a_flood_is_bounded_and_can_be_left(flood: bytes) -> None:
    me = psutil.Process()
    with Flood(frame(CONNECTED), flood) as relay:
        opened = open_tunnel(INSTANCE, environ=relay.environ, deadline=Deadline(10), timeouts=LIMITS)
        before = me.memory_info().rss
        try:
            until = time.monotonic() + 1.5
            while time.monotonic() < until and not opened.close_reason():  # nobody reads what it says
                assert me.memory_info().rss - before < GROWS_AT_MOST_BYTES
                time.sleep(0.05)
        finally:
            opened.close()
        eventually(nobody_carries, within_s=10, what="the thread ends")


@pytest.mark.parametrize("begun", [b"", frame(CONNECTED)], ids=["before-it-begins", "afterwards"])
@pytest.mark.parametrize("flood", [PONG, TEXT, FRAGMENT], ids=["pong", "text", "fragment"])
def test_a_flood_without_any_message_can_be_left(begun: bytes, flood: bytes) -> None:
    first = begun + (NO_MESSAGE if flood == FRAGMENT else b"")
    with Flood(first, flood) as relay:
        if begun:
            open_tunnel(INSTANCE, environ=relay.environ, deadline=Deadline(10), timeouts=LIMITS).close()
        else:
            with pytest.raises(SshError) as raised:
                open_tunnel(INSTANCE, environ=relay.environ, deadline=Deadline(20), timeouts=LIMITS)
            assert "no message within 1 s" in raised.value.why, "by itself, and not because we stopped waiting"
        eventually(nobody_carries, within_s=10, what="the thread ends")


def nobody_carries() -> bool:
    return all(thread.name != "iap" for thread in threading.enumerate())
