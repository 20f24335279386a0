"""Faults of the link, of the machine and of Jupyter, each measured: how long until it is noticed, and until the URL
works again."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support.clients.open_connections import OpenConnections, Outcome
from tests.support.clients.page import Page
from tests.support.environment.world import World
from tests.support.machines.gce_vm import NAME, PROJECT, ZONE, CloudMachine

from ..environment.waiting import eventually

KEEPALIVE_S = 1.0
INTERVALS = 3
MOST_S = 60.0
# What a keeper may hold more than before: the link's buffers are made anew, and a look may be under way.
SLACK_FILES = 8


@dataclass(frozen=True)
class Row:
    """Seconds. ``noticed_s``: from the fault until the state file tells; None where nothing was to be noticed.
    ``working_s``: from the end of the cause until the URL answered. ``kept``: the kernel's variable; ``connections``:
    what became of those that were open."""

    fault: str
    noticed_s: float | None
    working_s: float
    kept: bool
    connections: Outcome | None = None

    def __str__(self) -> str:
        noticed = "-" if self.noticed_s is None else f"{self.noticed_s:.1f} s"
        connections = "-" if self.connections is None else str(self.connections)
        quiet_s = self.connections.quiet_s if self.connections is not None else None
        first = "-" if quiet_s is None else f"{quiet_s:.1f} s"
        variable = "kept" if self.kept else "lost"
        return f"{self.fault:<44} {noticed:>9} {self.working_s:>9.1f} s   {variable:<8}   {first:>9}   {connections}"


HEAD = f"{'fault':<44} {'noticed':>9} {'URL works':>11}   variable   {'next line':>9}   WebSocket and download"


class Survivor:
    """A runtime that is up, with a kernel in which ``kept`` is 42."""

    def __init__(self, world: World, vm: CloudMachine) -> None:
        self.world = world
        self.vm = vm
        path = world.profiles / "vm.yaml"
        path.write_text(path.read_text().replace("ssh: {", f"ssh: {{keepalive: {KEEPALIVE_S:.0f}s, "))
        self.page = Page(world.up("vm"))
        self.kernel = ""
        self.set_variable()
        self._folder = Path(self.page.run(self.kernel, "import os; print(os.getcwd())"))
        self._files = self._settled_files()

    def set_variable(self) -> None:
        self.kernel = self.page.start_kernel()
        self.page.run(self.kernel, "kept = 42")

    @property
    def server(self) -> psutil.Process:
        return psutil.Process(self.world.file("vm")["server"]["pid"])

    @property
    def instance(self) -> Any:
        return self.vm.emulator.cloud.instance(PROJECT, ZONE, NAME)

    def suffer(
        self,
        fault: str,
        begin: Callable[[], object],
        end: Callable[[], object] | None = None,
        *,
        lasts_s: float = 0.0,
        noticed: bool = True,
    ) -> Row:
        """``begin`` it, wait until the keeper has noticed and until it has lasted so long, ``end`` it, and wait until
        the URL works. ``noticed`` False: it ends before anybody can have noticed."""
        before = self.world.file("vm")
        connections = OpenConnections(self.page, self._folder)
        connections.wait_for_line()
        began = time.monotonic()
        begin()
        noticed_s = None
        if noticed:
            eventually(lambda: self._differs(before), within_s=MOST_S, what=f"{fault} is noticed")
            noticed_s = time.monotonic() - began
        time.sleep(max(0.0, began + lasts_s - time.monotonic()))
        ended = began
        if end is not None:
            end()
            ended = time.monotonic()
        if noticed_s is None and end is None:
            raise ValueError("what nobody notices has to end")
        eventually(self.works, within_s=MOST_S, what=f"the URL works after {fault}")
        working_s = time.monotonic() - ended
        eventually(lambda: self.world.file("vm")["state"] == "ready", what="the state file tells that it is ready")
        row = Row(fault, noticed_s, working_s, self.is_kept(), connections.finish(ended))
        self._check_leaks()
        return row

    def _differs(self, before: dict[str, Any]) -> bool:
        now = self.world.file("vm")
        return bool(now["state"] != "ready" or now["last_outage"] != before["last_outage"])

    def works(self) -> bool:
        with suppress(OSError):
            return self.page.ask("GET", "/api/kernels", within_s=2 * KEEPALIVE_S)[0] == 200
        return False

    def is_kept(self) -> bool:
        status, kernels = self.page.ask("GET", "/api/kernels")
        assert status == 200
        return self.kernel in [kernel["id"] for kernel in kernels] and (
            self.page.run(self.kernel, "print(kept)") == "42"
        )

    def _settled_files(self) -> int:
        return int(self.world.keeper("vm").num_fds())

    def _check_leaks(self) -> None:
        eventually(lambda: self.vm.sshd.live() == 1, what="one connection is left")
        eventually(
            lambda: self._settled_files() <= self._files + SLACK_FILES,
            what="the keeper holds no more files than before",
        )
        servers = [command for command in self.world.running() if "boot.py" in command]
        assert len(servers) == 1, servers


def faults_of_the_link(survivor: Survivor) -> list[Callable[[], Row]]:
    sshd, suffer = survivor.vm.sshd, survivor.suffer

    def go_on() -> None:
        """The runtime does not need it: whoever was stopped ends, since nobody is there any more."""
        sshd.signal(signal.SIGCONT)

    def keeper(sign: signal.Signals) -> Callable[[], None]:
        return lambda: survivor.world.keeper("vm").send_signal(sign)

    def suspend_while_the_link_goes() -> None:
        keeper(signal.SIGSTOP)()
        sshd.signal(signal.SIGSTOP)

    def wake_up() -> None:
        keeper(signal.SIGCONT)()
        eventually(lambda: survivor.world.file("vm")["state"] != "ready" or sshd.live() > 1, what="it is noticed")
        go_on()

    return [
        lambda: suffer("the connection is reset", sshd.cut),
        lambda: suffer("the connection is ended (FIN)", sshd.end_cleanly),
        lambda: suffer("silence: nothing passes, no reset", sshd.freeze, sshd.resume),
        lambda: suffer("sshd is stopped (SIGSTOP)", lambda: sshd.signal(signal.SIGSTOP), go_on),
        lambda: suffer("sshd is killed", lambda: sshd.signal(signal.SIGKILL)),
        lambda: suffer(
            "this computer sleeps, the link lives on", keeper(signal.SIGSTOP), keeper(signal.SIGCONT), lasts_s=7.0,
            noticed=False,
        ),
        lambda: suffer(
            "this computer sleeps, the link dies", suspend_while_the_link_goes, wake_up, lasts_s=7.0, noticed=False
        ),
    ]  # fmt: skip


def port_taken_meanwhile(survivor: Survivor) -> Row:
    """While no keeper lived; `up` says so and takes another one."""
    world = survivor.world
    port = world.file("vm")["local_port"]
    world.keeper("vm").kill()
    with eventually(lambda: _listener_at(port), what="the dead keeper's port is free"):
        began = time.monotonic()
        again = world.run("up", "vm")
        working_s = time.monotonic() - began
    assert again.code == 0, again.err
    assert f"Port {port} is in use; using" in again.err
    survivor.page = Page(again.out.strip())
    return Row("`up`: its port was taken meanwhile", None, working_s, survivor.is_kept())


def _listener_at(port: int) -> socket.socket | None:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None


def faults_of_the_machine(survivor: Survivor, *, gone_s: float) -> list[Callable[[], Row]]:
    sshd, suffer = survivor.vm.sshd, survivor.suffer

    def go() -> None:
        sshd.refuse()
        sshd.cut()

    def restart_elsewhere() -> None:
        survivor.instance.nat_ip = "127.0.0.2"
        survivor.server.kill()
        sshd.move("127.0.0.2")

    def stop() -> None:
        go()
        survivor.vm.emulator.cloud.set_status(NAME, "TERMINATED")

    def start() -> None:
        sshd.resume()
        survivor.vm.emulator.cloud.set_status(NAME, "RUNNING")

    return [
        lambda: suffer(f"the machine is gone for {gone_s:.0f} s", go, sshd.resume, lasts_s=gone_s),
        lambda: suffer("the machine is stopped and started", stop, start, lasts_s=6.0),
        lambda: suffer("Jupyter is frozen", lambda: survivor.server.suspend(), lambda: survivor.server.resume()),
        lambda: suffer("Jupyter is killed", lambda: survivor.server.kill()),
        lambda: suffer("the machine restarts at another address", restart_elsewhere),
    ]
