"""What other users of the machine can hear of a kernel. scripts/soak kernel-ports does it on other Jupyters."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

import pytest

from tests.support.clients.eavesdropper import eavesdropper
from tests.support.machines.machine_with_kernel import SECRETS, machine_with_a_kernel


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="becoming another user takes root")
def test_another_user_of_the_machine_hears_nothing_of_a_cell(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with machine_with_a_kernel(tmp_path / "home") as kernel:
        with eavesdropper(first):
            kernel.run_secrets()
            kernel.restart()
        with eavesdropper(second):
            kernel.run_secrets()
        folder = kernel.runtime_folder
        assert [path.name for path in folder.glob("kernel-*-ipc-?")]
        assert folder.stat().st_mode & 0o777 == 0o700
        assert is_locked(folder)
    heard = first.read_bytes() + second.read_bytes()
    assert [secret for secret in SECRETS if secret.encode() in heard] == []
    assert not folder.exists()


def is_locked(folder: Path) -> bool:
    """As systemd-tmpfiles finds out whether it may clean there."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
