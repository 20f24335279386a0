"""The machine of ``scripts/bench copy``: an sshd. ``python -m … ADDRESS DIRECTORY`` prints its port.

``DIRECTORY`` has the keys. A connection to the unix socket there is sent the CPU seconds that the machine has used so
far: sshd with its children, and the agents that outlived their logins, which become children of this process. It ends
with its input.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from .tunnel_machine import PATH_WITH_SBIN, SSHD, sshd_config
from .tunnel_process import ended, free_port, wait_for_port

_PR_SET_CHILD_SUBREAPER = 36
_SETTLE_S = 10.0


def main() -> None:
    address, home = sys.argv[1], Path(sys.argv[2])
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    port, config = free_port(address), home / f"sshd-{address}.conf"
    config.write_text(sshd_config(home, address, port, "ERROR") + "Subsystem sftp internal-sftp\n")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    environ = {"PATH": PATH_WITH_SBIN}
    with ended(subprocess.Popen([SSHD, "-D", "-f", str(config)], env=environ, stdin=subprocess.DEVNULL)):
        wait_for_port(port, address)
        (sshd,) = [each for each in psutil.Process().children() if each.name() == "sshd"]
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(socket_path(home, address)))
            listener.listen()
            _say(str(port))
            threading.Thread(target=_answer, args=(listener, sshd), daemon=True).start()
            sys.stdin.read()


def socket_path(home: Path, address: str) -> Path:
    return home / f"cpu-{address}"


def _answer(listener: socket.socket, sshd: psutil.Process) -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(f"{_used_s(sshd):.3f}".encode())


def _used_s(sshd: psutil.Process) -> float:
    """When the last login and agent have ended."""
    until = time.monotonic() + _SETTLE_S
    while psutil.Process().children(recursive=True) != [sshd] and time.monotonic() < until:
        for child in psutil.Process().children():
            if child != sshd and child.status() == psutil.STATUS_ZOMBIE:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(child.pid, 0)
        time.sleep(0.02)
    of_sshd, of_agents = sshd.cpu_times(), resource.getrusage(resource.RUSAGE_CHILDREN)
    own = (of_sshd.user, of_sshd.system, of_sshd.children_user, of_sshd.children_system)
    return float(sum(own)) + of_agents.ru_utime + of_agents.ru_stime


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
