"""A link with delay, a rate and a queue, between here and a network of its own: ``python -m … ONE_WAY_MS COMMAND …``.

``COMMAND`` runs at ``FAR`` in a new network namespace; this one, which must not be the computer's own, has ``NEAR``.
Between them go IP packets, so each end's TCP is the other's peer, with its own acknowledgements, windows and stalls:
a proxy would answer in its place. Standard output and input are the command's, except that the lines ``delay MS``,
``drop`` and ``pass`` on the input are for the link. Needs root (Linux: TUN, network namespaces).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence

NEAR, FAR = "10.77.0.1", "10.77.0.2"
MB_S = 125.0  # 1 Gbit/s
QUEUE_BYTES = 64 << 20
MTU_BYTES = 16_000  # a smaller one would measure how fast this program is
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_CLONE_NEWNET = 0x40000000
_TCP_BUFFER_BYTES = 64 << 20


def main() -> None:
    delay_s, command = float(sys.argv[1]) / 1000, sys.argv[2:]
    near = open_tun("near", NEAR)  # before the process moves to the new namespace, which the command inherits
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no new network namespace")
    prepare_network()
    far = open_tun("far", FAR)
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    os.close(1)  # it is the command's, and ends with it
    try:
        Link(near, far, delay_s).run()
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.wait(20)


def prepare_network() -> None:
    """Of a new namespace: loopback, and TCP as on a computer that was set up for long links."""
    _run("ip", "link", "set", "lo", "up")
    for name, value in (
        ("tcp_rmem", f"4096 131072 {_TCP_BUFFER_BYTES}"),
        ("tcp_wmem", f"4096 131072 {_TCP_BUFFER_BYTES}"),
    ):
        with open(f"/proc/sys/net/ipv4/{name}", "w") as setting:
            setting.write(value)


def open_tun(name: str, address: str) -> int:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
    _run("ip", "address", "add", f"{address}/24", "dev", name)
    _run("ip", "link", "set", name, "mtu", str(MTU_BYTES), "txqueuelen", "10000", "up")
    return device


class Direction:
    """Packets wait their time in order, and leave no faster than the rate; where there is no place they are lost."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._queue: deque[tuple[float, bytes]] = deque()
        self._queued = 0
        self._free_at = 0.0

    def put(self, packet: bytes, now: float, delay_s: float) -> None:
        if self._queued + len(packet) > QUEUE_BYTES:
            return
        self._free_at = max(self._free_at, now) + len(packet) / (MB_S * 1e6)
        self._queue.append((self._free_at + delay_s, packet))
        self._queued += len(packet)

    def give(self, now: float) -> float:
        """What is due; when the next one is."""
        while self._queue and self._queue[0][0] <= now:
            _, packet = self._queue.popleft()
            self._queued -= len(packet)
            os.write(self._target, packet)
        return self._queue[0][0] if self._queue else float("inf")


class Link:
    def __init__(self, near: int, far: int, delay_s: float) -> None:
        self._delay_s = delay_s
        self._drops = False
        self._ways = {near: Direction(far), far: Direction(near)}

    def run(self) -> None:
        """Until the end of the input."""
        sources = [*self._ways, 0]
        while True:
            due = min(way.give(time.monotonic()) for way in self._ways.values())
            wait_s = None if due == float("inf") else max(0.0, due - time.monotonic())
            # Not poll, which waits whole milliseconds: each packet would be late.
            ready, _, _ = select.select(sources, [], [], wait_s)
            for source in ready:
                if source == 0:
                    words = os.read(0, 1000).decode()
                    if not words:
                        return
                    for line in words.splitlines():
                        self._obey(line.split())
                else:
                    self._take(source)

    def _take(self, source: int) -> None:
        now = time.monotonic()
        for _ in range(64):
            try:
                packet = os.read(source, MTU_BYTES)
            except BlockingIOError:
                return
            if not self._drops:
                self._ways[source].put(packet, now, self._delay_s)

    def _obey(self, words: Sequence[str]) -> None:
        if words[0] == "delay":
            self._delay_s = float(words[1]) / 1000
        else:
            self._drops = words[0] == "drop"


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
