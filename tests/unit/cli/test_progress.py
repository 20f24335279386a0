"""A command that is interrupted while it waits for questions goes on, however often."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import signal, sys, time
from remote_runtime.cli.output.progress import TerminalView

def interrupt(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
terminal = TerminalView(quiet=True, verbose=False, plain=True, show_names=False)
until, heard = time.monotonic() + 1.0, 0
while time.monotonic() < until:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.00001 + (heard % 40) * 0.000005)
        while True:
            terminal.answer_prompts(0.00002)
    except KeyboardInterrupt:
        heard += 1
    except RuntimeError:  # what the interrupt left behind shows itself in another way, too
        sys.exit("a lock was left in disorder")
signal.setitimer(signal.ITIMER_REAL, 0)
print(heard)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timer that interrupts")
def test_no_interrupt_leaves_a_lock_behind() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 20
