"""`exec`: runs code in a kernel of a runtime that is ready."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..core.deadline import Deadline
from ..core.errors import HealthError, LocalError
from ..core.fast_dataclass import fast_dataclass
from ..jupyter.health.endpoint import Endpoint
from ..jupyter.program import KernelProgram
from ..jupyter.program_client import ProgramClient, ProgramEnd
from ..jupyter.program_run import ProgramRun
from ..jupyter.running_kernels import RunningKernel, end_kernel, find_kernel, named_session_kernel, start_kernel
from .context import CommandContext
from .runtime_endpoint import endpoint_of

START_TIMEOUT_S = 60.0
END_TIMEOUT_S = 15.0
MAX_SOURCE_BYTES = 16 << 20


@fast_dataclass(frozen=True)
class KernelChoice:
    """``kernel``: the beginning of the id of a running one. ``new``: a new one, which is ended afterwards. Neither: the
    one of the session `exec`, which stays. ``spec``: the kernelspec; empty for the default."""

    kernel: str = ""
    new: bool = False
    spec: str = ""


class RunningProgram:
    """``leave`` and the program's id, for the time while `run_program` runs."""

    def __init__(self) -> None:
        self.run: ProgramRun | None = None

    def leave(self) -> None:
        """The program stays running; its output is recorded."""
        if self.run is not None:
            self.run.leave()


def run_program(
    name: str,
    program: KernelProgram,
    choice: KernelChoice,
    client: ProgramClient,
    context: CommandContext,
    running: RunningProgram | None = None,
) -> ProgramEnd:
    """Run it to its end; the first Ctrl-C (``context.cancelled``) interrupts it. Raises ``RemoteRuntimeError``."""
    endpoint = endpoint_of(name, context, is_client=True)
    with open_kernel(name, endpoint, choice, context) as kernel:
        context.view.done(name)
        run = ProgramRun(endpoint, kernel.id, program, client, context.cancelled)
        if running is not None:
            running.run = run
        return run.run()


def start_program(
    name: str, program: KernelProgram, choice: KernelChoice, client: ProgramClient, context: CommandContext
) -> RunningKernel:
    """Start it and leave it: its output is recorded. A new kernel stays. Raises ``RemoteRuntimeError``."""
    endpoint = endpoint_of(name, context, is_client=True)
    kernel = _kernel(name, endpoint, choice, context)
    ProgramRun(endpoint, kernel.id, program, client, context.cancelled).detach()
    context.view.done(name)
    return kernel


@contextlib.contextmanager
def open_kernel(
    name: str, endpoint: Endpoint, choice: KernelChoice, context: CommandContext
) -> Iterator[RunningKernel]:
    """A new kernel is ended at the end. Raises ``HealthError``, ``MachineError`` ``kernel-not-found``."""
    kernel = _kernel(name, endpoint, choice, context)
    try:
        yield kernel
    finally:
        if choice.new:
            with contextlib.suppress(HealthError):  # `down` ends it too
                end_kernel(endpoint, kernel.id, Deadline(END_TIMEOUT_S))


def read_source(path: Path, label: str) -> str:
    """The text of a Python file, by its coding line. Raises ``LocalError`` ``code-unreadable``."""
    try:
        if path.stat().st_size > MAX_SOURCE_BYTES:
            raise LocalError("code-unreadable", f"{label} is larger than {MAX_SOURCE_BYTES >> 20} MiB")
        return decode_source(path.read_bytes(), label)
    except OSError as error:
        raise LocalError("code-unreadable", f"Can't read {label}", error.strerror or str(error)) from error


def decode_source(content: bytes, label: str) -> str:
    """Raises ``LocalError`` ``code-unreadable``."""
    try:
        return importlib.util.decode_source(content)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise LocalError("code-unreadable", f"{label} is no Python source", str(error)) from error


def _kernel(name: str, endpoint: Endpoint, choice: KernelChoice, context: CommandContext) -> RunningKernel:
    deadline = context.deadline(START_TIMEOUT_S)
    if choice.kernel:
        return find_kernel(endpoint, choice.kernel, deadline)
    context.view.step(name, "Starting a kernel")
    if choice.new:
        return replace(start_kernel(endpoint, choice.spec, deadline), is_new=True)
    return named_session_kernel(endpoint, choice.spec, deadline)
