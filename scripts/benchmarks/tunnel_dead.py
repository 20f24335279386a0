"""A link that dies without a word, for ``scripts/bench tunnel``: remote-runtime with its keeper, and ssh with autossh.

Both go over one real network whose router loses every packet to the machine, until each has noticed it.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from scripts.soaks.faults import autossh
from tests.support.environment.lan import Lan, Traveller, lan
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World

from . import tunnel_candidates as candidates
from .tunnel_parts import Values

MOST_S = 60.0
_ANSWER_S = 1.0


@contextlib.contextmanager
def travellers() -> Iterator[dict[str, Callable[[], Values]]]:
    """Candidate → one dead link of its own."""
    with tempfile.TemporaryDirectory(prefix="rr-") as home, lan(Path(home) / "far") as far:
        traveller = Traveller(world := World(Path(home)), far)

        def ours() -> Values:
            row = traveller.packets_vanish()
            return _values(row.noticed_s or 0.0, row.working_s)

        try:
            with autossh(far.sshd, far.sshd.port, Path(home)) as (process, port):
                eventually(lambda: _answers(port), within_s=MOST_S)
                yield {candidates.OURS: ours, candidates.SSH: lambda: _of_autossh(far, process, port)}
        finally:
            world.end()


def _of_autossh(far: Lan, process: subprocess.Popen[bytes], port: int) -> Values:
    ssh = psutil.Process(process.pid).children()[0]
    began = time.monotonic()
    far.lose_packets()
    eventually(lambda: not ssh.is_running(), within_s=MOST_S, what="autossh's ssh has ended")
    noticed = time.monotonic()
    far.pass_packets()
    eventually(lambda: _answers(port), within_s=MOST_S, what="autossh's port answers")
    return _values(noticed - began, time.monotonic() - noticed)


def _answers(port: int) -> bool:
    """Whether the machine's SSH server greets through it."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_S) as client:
        return client.recv(4) == b"SSH-"
    return False


def _values(noticed_s: float, works_s: float) -> Values:
    return {
        "Dead link (ssh by autossh): noticed after, s": [noticed_s],
        "Dead link (ssh by autossh): works again after, s": [works_s],
    }
