"""What the serial console tells of a boot."""

from __future__ import annotations

import pytest

from remote_runtime.compute.diagnosis import causes
from remote_runtime.demo.gcp_api import instance_methods
from tests.support.faults import boot_logs


@pytest.mark.parametrize(
    ("boot", "state", "said"),
    [
        (instance_methods.BOOT, "up", ""),
        (boot_logs.STARTING, "booting", ""),
        (boot_logs.NO_SSHD, "no-sshd", "Failed to start ssh.service"),
        (boot_logs.PANIC, "panic", "Kernel panic - not syncing: VFS"),
        (boot_logs.EMERGENCY, "emergency", "You are in emergency mode"),
        (boot_logs.DISK_FULL, "disk-full", "no space left on device"),
        ("[  12.1] EXT4-fs (sda1): No space left on device\n", "disk-full", "No space left on device"),
        ("nothing that we know\n", "unknown", ""),
    ],
)
def test_each_boot_is_told_by_what_it_writes(boot: str, state: str, said: str) -> None:
    sign = causes.parse_serial_output(instance_methods.serial_output("gpu-box", 1, boot))
    assert sign.state == state
    assert said in sign.line
    assert bool(sign.line) == bool(said)


def test_only_the_last_boot_counts() -> None:
    once = instance_methods.serial_output("gpu-box", 1, boot_logs.EMERGENCY)
    assert causes.parse_serial_output(once + instance_methods.serial_output("gpu-box", 1)).state == "up"
    assert causes.parse_serial_output(instance_methods.serial_output("gpu-box", 1) + once).state == "emergency"


def test_what_the_console_says_is_cleaned_and_cut() -> None:
    sign = causes.parse_serial_output("Kernel panic - not syncing: \x1b[31m" + "x" * 10_000 + "\r\n")
    assert "\x1b" not in sign.line
    assert len(sign.line) <= causes.MAX_LINE_CHARS
