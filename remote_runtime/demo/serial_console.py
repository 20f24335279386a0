"""What an instance writes to its first serial port."""

from __future__ import annotations

_BOOT = """\
SeaBIOS (version 1.8.2-google)
Booting from Hard Disk 0...
[    0.000000] Linux version 6.1.0-26-cloud-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC
[    2.317441] systemd[1]: Detected virtualization google.
[    2.401120] systemd[1]: Hostname set to <{name}>.
[  OK  ] Started ssh.service - OpenBSD Secure Shell server.
google_guest_agent[612]: GCE Agent Started
[  OK  ] Reached target multi-user.target - Multi-User System.
{name} login:
"""


def serial_output(name: str, boots: int) -> str:
    """The log of all boots so far; lines end with CR LF."""
    return (_BOOT.format(name=name) * boots).replace("\n", "\r\n")
