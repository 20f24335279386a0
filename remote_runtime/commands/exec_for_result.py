"""Runs code to its end and returns its result, for Python programs."""

from __future__ import annotations

import threading

from ..core.errors import DeadlinePassed
from ..jupyter.program import KernelProgram
from ..jupyter.program_client import INTERRUPTED, ProgramEnd
from .context import CommandContext, run_parallel
from .exec import KernelChoice, RunningCode, run_code
from .exec_result import CodeResult, CollectedOutput

LEAVE_AFTER_S = 10.0  # code that does not end when it is interrupted is left running


def exec_for_result(
    name: str,
    code: str,
    output: CollectedOutput,
    context: CommandContext,
    *,
    new_kernel: bool,
    timeout_s: float | None,
) -> CodeResult:
    """Raises ``RemoteRuntimeError``, ``DeadlinePassed``, and ``KeyboardInterrupt`` once the code was interrupted."""
    running, has_passed = RunningCode(), threading.Event()

    def interrupt() -> None:
        has_passed.set()
        context.cancelled.set()

    timers = []
    if timeout_s is not None:
        timers = [threading.Timer(timeout_s, interrupt), threading.Timer(timeout_s + LEAVE_AFTER_S, running.leave)]
    for timer in timers:
        timer.daemon = True
        timer.start()

    def job() -> object:
        return run_code(name, KernelProgram(code), KernelChoice(new=new_kernel), output, context, running)

    try:
        ended = run_parallel({name: job}, context)[name]
    finally:
        for timer in timers:
            timer.cancel()
    if has_passed.is_set():
        left = "it is still running" if running.has_left else "it was interrupted"
        raise DeadlinePassed(f"The code took more than {timeout_s:.0f} s", left)
    if isinstance(ended, Exception):
        raise ended
    if not isinstance(ended, ProgramEnd):
        raise TypeError("expected the end of a program")
    if ended.status == INTERRUPTED and context.cancelled.is_set():
        raise KeyboardInterrupt
    return output.result(ended.status, ended.error)
