"""A machine in a network of its own, behind a router that can lose packets, and the networks that lead there from here.

Real TCP over real interfaces: what is dropped is retransmitted, what has lost its address is silent. Linux, root, and
the process that runs tests is in a network of its own (``network.leave``).
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.clients.open_connections import OpenConnections
from tests.support.clients.page import Page
from tests.support.environment import network
from tests.support.environment.world import World
from tests.support.faults.faults import know
from tests.support.faults.link_faults import KEEPALIVE_S, MOST_S, Row
from tests.support.servers.sshd import Sshd

from .waiting import eventually

MACHINE = "10.78.0.2"
_ROUTER = "10.78.0.1"
_AWAY_S = 12.0  # the pauses between the keeper's tries have grown then


class _There(Sshd):
    address = MACHINE


class Lan:
    """``sshd`` is the machine's, at ``MACHINE``."""

    def __init__(self, router: int, sshd: Sshd) -> None:
        self.sshd = sshd
        self._router = router
        self._joined = 0

    def join(self) -> None:
        """This computer enters a network that leads to the machine: another one each time."""
        self._joined += 1
        number = self._joined
        link = ("link", "add", f"here{number}", "type", "veth", "peer", f"net{number}", "netns", str(self._router))
        _ip(*link)
        _ip("address", "add", f"10.78.{number}.2/24", "dev", f"here{number}")
        _ip("link", "set", f"here{number}", "up")
        with network.network_of(self._router):
            _ip("address", "add", f"10.78.{number}.1/24", "dev", f"net{number}")
            _ip("link", "set", f"net{number}", "up")
        _ip("route", "add", f"{MACHINE}/32", "via", f"10.78.{number}.1")

    def leave(self) -> None:
        """Out of the network that was joined last; its address and its route go."""
        _ip("link", "delete", f"here{self._joined}")

    def lose_packets(self) -> None:
        """All that are for the machine, without a word."""
        with network.network_of(self._router):
            _ip("route", "add", "blackhole", f"{MACHINE}/32")

    def pass_packets(self) -> None:
        with network.network_of(self._router):
            _ip("route", "delete", "blackhole", f"{MACHINE}/32")


class Traveller:
    """A runtime `far` on the machine of a ``Lan``, with a kernel in which ``kept`` is 42."""

    def __init__(self, world: World, far: Lan) -> None:
        self._world, self._lan = world, far
        sshd = far.sshd
        know(world, sshd)
        world.profile(
            "far",
            f"version: 1\ntarget: {{kind: ssh, host: {MACHINE}, port: {sshd.port}}}\n"
            f"ssh: {{user: {sshd.user}, identity_file: {sshd.key_path}, keepalive: {KEEPALIVE_S:.0f}s}}\n",
        )
        self._page = Page(world.up("far"))
        self._kernel = self._page.start_kernel()
        self._page.run(self._kernel, "kept = 42")
        self._folder = Path(self._page.run(self._kernel, "import os; print(os.getcwd())"))

    def packets_vanish(self) -> Row:
        return self._suffer("packets vanish in the network", self._lan.lose_packets, self._lan.pass_packets)

    def another_network(self) -> Row:
        return self._suffer("another network, after 12 s", self._lan.leave, self._lan.join, lasts_s=_AWAY_S)

    def _suffer(
        self, fault: str, begin: Callable[[], object], end: Callable[[], object], *, lasts_s: float = 0.0
    ) -> Row:
        connections = OpenConnections(self._page, self._folder)
        connections.wait_for_line()
        began = time.monotonic()
        begin()
        eventually(lambda: self._world.file("far")["state"] != "ready", within_s=MOST_S, what=f"{fault} is noticed")
        noticed_s = time.monotonic() - began
        time.sleep(max(0.0, began + lasts_s - time.monotonic()))
        ended = time.monotonic()
        end()
        eventually(self._works, within_s=MOST_S, what=f"the URL works after {fault}")
        working_s = time.monotonic() - ended
        eventually(lambda: self._world.file("far")["state"] == "ready", what="the state file tells that it is ready")
        kept = self._page.run(self._kernel, "print(kept)") == "42"
        return Row(fault, noticed_s, working_s, kept, connections.finish(ended))

    def _works(self) -> bool:
        with contextlib.suppress(OSError):
            return self._page.ask("GET", "/api/kernels", within_s=2 * KEEPALIVE_S)[0] == 200
        return False


@contextlib.contextmanager
def lan(directory: Path) -> Iterator[Lan]:
    """With this computer in a first network."""
    with _new_network() as router, _new_network() as machine:
        with network.network_of(router):
            _ip("link", "add", "inner", "type", "veth", "peer", "machine", "netns", str(machine))
            _ip("address", "add", f"{_ROUTER}/24", "dev", "inner")
            _ip("link", "set", "inner", "up")
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        with network.network_of(machine):
            _ip("address", "add", f"{MACHINE}/24", "dev", "machine")
            _ip("link", "set", "machine", "up")
            _ip("link", "set", "lo", "up")
            _ip("route", "add", "default", "via", _ROUTER)
            sshd = _There(directory)
        try:
            joined = Lan(router, sshd)
            joined.join()
            yield joined
        finally:
            sshd.stop()


@contextlib.contextmanager
def _new_network() -> Iterator[int]:
    """The process that holds it."""
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        if holder.stdout is not None:
            holder.stdout.readline()
        yield holder.pid


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
