"""What an instance whose boot goes wrong writes to its serial port; formats with ``name``, as ``Vm.boot_log``."""

from __future__ import annotations

_START = """\
SeaBIOS (version 1.8.2-google)
Booting from Hard Disk 0...
[    0.000000] Linux version 6.1.0-26-cloud-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC
[    2.317441] systemd[1]: Detected virtualization google.
[    2.401120] systemd[1]: Hostname set to <{name}>.
"""
_LOGIN = """\
google_guest_agent[612]: GCE Agent Started
[  OK  ] Reached target multi-user.target - Multi-User System.
{name} login:
"""

STARTING = _START
NO_SSHD = f"""{_START}\
[FAILED] Failed to start ssh.service - OpenBSD Secure Shell server.
See 'systemctl status ssh.service' for details.
{_LOGIN}"""
PANIC = """\
[    1.904211] VFS: Cannot open root device "PARTUUID=6d9f" or unknown-block(0,0): error -6
[    1.917334] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)
[    1.931002] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0) ]---
"""
EMERGENCY = f"""{_START}\
[DEPEND] Dependency failed for local-fs.target - Local File Systems.
You are in emergency mode. After logging in, type "journalctl -xb" to view
system logs, "systemctl reboot" to reboot, "systemctl default" or "exit"
to boot into default mode.
Press Enter for maintenance
"""
DISK_FULL = f"""{_START}\
[  OK  ] Started ssh.service - OpenBSD Secure Shell server.
google_guest_agent[612]: ERROR non_windows_accounts.go:158 Error updating SSH keys for me: write \
/home/me/.ssh/authorized_keys: no space left on device.
{_LOGIN}"""
