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
from pathlib import Path

import psutil

from .tunnel_machine import PATH_WITH_SBIN, SSHD, sshd_config
from .tunnel_process import ended, free_port, wait_for_port

_PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    address, home = sys.argv[1], Path(sys.argv[2])
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    port, config = free_port(address), home / f"sshd-{address}.conf"
    config.write_text(sshd_config(home, address, port, "ERROR") + "Subsystem sftp internal-sftp\n")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    environ = {"PATH": PATH_WITH_SBIN}
    with ended(subprocess.Popen([SSHD, "-D", "-f", str(config)], env=environ, stdin=subprocess.DEVNULL)):
        wait_for_port(port, address)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(socket_path(home, address)))
            listener.listen()
            _say(str(port))
            threading.Thread(target=_answer, args=(listener,), daemon=True).start()
            sys.stdin.read()


def socket_path(home: Path, address: str) -> Path:
    return home / f"cpu-{address}"


def _answer(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(f"{_used_s():.3f}".encode())


def _used_s() -> float:
    """Of all processes below this one, and of those that have ended."""
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
            if child.status() == psutil.STATUS_ZOMBIE and child.ppid() == os.getpid():
                os.waitpid(child.pid, 0)
                continue
            used = child.cpu_times()
            total += used.user + used.system + used.children_user + used.children_system
    ended_children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return total + ended_children.ru_utime + ended_children.ru_stime


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
