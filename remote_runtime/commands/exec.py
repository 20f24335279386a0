"""`exec`: runs code in a kernel of a runtime that is ready."""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.deadline import Deadline
from ..core.errors import HealthError, LocalError
from ..core.fast_dataclass import fast_dataclass
from ..jupyter.health.endpoint import Endpoint
from ..jupyter.notebook_file import kernelspec_of, write_notebook_file
from ..jupyter.notebook_run import NotebookEnd, NotebookRun
from ..jupyter.program import KernelProgram
from ..jupyter.program_client import ProgramClient, ProgramEnd
from ..jupyter.program_run import ProgramRun
from ..jupyter.running_kernels import (
    RunningKernel,
    end_kernel,
    find_kernel,
    list_specs,
    named_session_kernel,
    start_kernel,
)
from .context import CommandContext
from .runtime_endpoint import endpoint_of

START_TIMEOUT_S = 60.0
END_TIMEOUT_S = 15.0
LEAVE_TIMEOUT_S = 5.0
MAX_SOURCE_BYTES = 16 << 20


@fast_dataclass(frozen=True)
class KernelChoice:
    """``kernel``: the beginning of the id of a running one. ``new``: a new one, which is ended afterwards. Neither: the
    one of the session `exec`, which stays. ``spec``: the kernelspec; empty for the default."""

    kernel: str = ""
    new: bool = False
    spec: str = ""


@fast_dataclass(frozen=True)
class NotebookJob:
    """``target``: the file that gets the outputs; None: none."""

    notebook: dict[str, Any]
    target: Path | None = None
    allow_errors: bool = False


class RunningCode:
    """For the time while `run_code` runs. ``is_done``: it has ended, with all that it writes."""

    def __init__(self) -> None:
        self.run: ProgramRun | NotebookRun | None = None
        self.is_done = threading.Event()
        self.has_left = False

    def leave(self) -> None:
        """The code stays running, also in a new kernel; its output is recorded."""
        self.has_left = True
        if self.run is not None:
            self.run.leave()
            self.is_done.wait(LEAVE_TIMEOUT_S)


def run_code(
    name: str,
    code: KernelProgram | NotebookJob,
    choice: KernelChoice,
    client: ProgramClient,
    context: CommandContext,
    running: RunningCode | None = None,
) -> ProgramEnd | NotebookEnd:
    """Run a program or a notebook to its end; the first Ctrl-C (``context.cancelled``) interrupts it. A notebook is
    written also when a cell fails. Raises ``RemoteRuntimeError``."""
    running = running or RunningCode()
    endpoint = endpoint_of(name, context, is_client=True)
    if isinstance(code, NotebookJob) and not (choice.kernel or choice.spec):
        spec = kernelspec_of(code.notebook)
        if spec in list_specs(endpoint, context.deadline(START_TIMEOUT_S)).names:
            choice = replace(choice, spec=spec)
    with open_kernel(name, endpoint, choice, context, running) as kernel:
        if isinstance(code, NotebookJob):
            return _run_notebook(endpoint, kernel, code, client, context, running)
        running.run = run = ProgramRun(endpoint, kernel.id, code, client, context.cancelled)
        return run.run()


def _run_notebook(
    endpoint: Endpoint,
    kernel: RunningKernel,
    job: NotebookJob,
    client: ProgramClient,
    context: CommandContext,
    running: RunningCode,
) -> NotebookEnd:
    running.run = run = NotebookRun(
        endpoint, kernel.id, job.notebook, client, context.cancelled, allow_errors=job.allow_errors
    )
    try:
        return run.run()
    finally:
        if job.target is not None:
            write_notebook_file(job.target, job.notebook)


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
    name: str, endpoint: Endpoint, choice: KernelChoice, context: CommandContext, running: RunningCode
) -> Iterator[RunningKernel]:
    """A new kernel is ended at the end. Raises ``HealthError``, ``MachineError`` ``kernel-not-found``."""
    kernel = _kernel(name, endpoint, choice, context)
    context.view.done(name)
    try:
        yield kernel
    finally:
        running.is_done.set()
        if choice.new and not running.has_left:
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
