"""Executes a notebook's code cells in order, as nbclient does."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from typing import Any

from ..core.deadline import Deadline
from ..core.errors import HealthError, MachineError
from ..core.fast_dataclass import fast_dataclass
from .health.endpoint import Endpoint
from .kernel_client import KernelConnection, KernelConnectionLost, KernelMessage
from .notebook import NotebookBuilder
from .notebook_file import source_of, stored_output, tags_of
from .outputs import OutputEvent
from .program_client import INTERRUPTED, ProgramClient
from .running_kernels import interrupt_kernel, is_busy

CONNECT_TIMEOUT_S = 30.0
RECONNECT_TIMEOUT_S = 600.0
RETRY_S = 1.0
INTERRUPT_TIMEOUT_S = 15.0
POLL_S = 0.2
BUSY_AFTER_S = 1.0
SILENCE_S = 5.0  # after a reconnect, until the kernel's state decides whether the cell has ended
OUTPUT_TYPES = ("stream", "display_data", "update_display_data", "execute_result", "error", "clear_output")


@fast_dataclass(frozen=True)
class NotebookEnd:
    """``cells``: those that were executed. ``failed``: the number of the code cell that ended the run, from 1; None if
    none did. ``status``: 0, 1, or 130 after an interrupt."""

    status: int
    cells: int
    failed: int | None = None


class NotebookRun:
    """Changes the ``notebook``: outputs and execution counts of the cells that it executes. ``cancelled``: set to
    interrupt the cell."""

    def __init__(
        self,
        endpoint: Endpoint,
        kernel: str,
        notebook: dict[str, Any],
        client: ProgramClient,
        cancelled: threading.Event,
        *,
        allow_errors: bool = False,
    ) -> None:
        self._endpoint = endpoint
        self._notebook = notebook
        self._client = client
        self._cancelled = cancelled
        self._allow_errors = allow_errors
        self._connection = KernelConnection(endpoint, kernel, is_recorded=False)
        self._builder = NotebookBuilder()
        self._cells: dict[str, dict[str, Any]] = {}  # by request
        self._reply: Mapping[str, Any] | None = None
        self._is_idle = self._is_interrupted = self._has_left = False
        self._doubts_since: float | None = None

    def leave(self) -> None:
        """The cell stays running, and its later output is recorded; ``run`` ends. For any thread."""
        self._has_left = True

    def run(self) -> NotebookEnd:
        """Raises ``HealthError``, ``MachineError`` ``kernel-died``."""
        self._connection.open(Deadline(CONNECT_TIMEOUT_S))
        try:
            if not self._wait_for_kernel():
                return NotebookEnd(INTERRUPTED, 0)
            return self._run_cells()
        except KernelConnectionLost as error:
            raise HealthError("not-answering", "The connection to the kernel was lost") from error
        finally:
            self._connection.close()
            self._store()

    def _run_cells(self) -> NotebookEnd:
        count = 0
        for number, cell in enumerate((each for each in self._notebook["cells"] if each["cell_type"] == "code"), 1):
            if not source_of(cell).strip() or "skip-execution" in tags_of(cell):
                continue
            reply = self._run_cell(cell)
            count += 1
            if self._has_left:
                return NotebookEnd(INTERRUPTED, count, number)
            if reply.get("status") == "ok" or self._allow_errors or "raises-exception" in tags_of(cell):
                continue
            is_interrupt = self._is_interrupted and reply.get("ename") == "KeyboardInterrupt"
            return NotebookEnd(INTERRUPTED if is_interrupt else 1, count, number)
        return NotebookEnd(0, count)

    def _run_cell(self, cell: dict[str, Any]) -> Mapping[str, Any]:
        """The kernel's reply."""
        cell["outputs"], cell["execution_count"] = [], None
        self._reply, self._is_idle = None, False
        request = self._connection.execute(source_of(cell), silent=False, stop_on_error=not self._allow_errors)
        self._cells[request] = cell
        while (self._reply is None or not self._is_idle) and not self._has_left:
            self._step(request)
        return self._reply or {}

    def _wait_for_kernel(self) -> bool:
        """Until it has no other code to run. False after an interrupt: then it gets no code."""
        request = self._connection.send("kernel_info_request", "shell", {})
        busy_at = time.monotonic() + BUSY_AFTER_S
        self._reply = None
        while self._reply is None and not (self._cancelled.is_set() or self._has_left):
            self._step(request)
            if time.monotonic() > busy_at and self._reply is None:
                busy_at = float("inf")
                self._client.note("Waiting for the kernel: it starts, or runs other code")
        if self._reply is None:
            return False
        metadata = self._notebook.get("metadata")
        language = self._reply.get("language_info")
        if isinstance(metadata, dict) and isinstance(language, dict):
            metadata["language_info"] = language
        return True

    def _step(self, request: str) -> None:
        try:
            if self._cancelled.is_set() and not self._is_interrupted and self._cells:
                self._is_interrupted = True
                interrupt_kernel(self._endpoint, self._connection.kernel, Deadline(INTERRUPT_TIMEOUT_S))
            message = self._connection.receive(POLL_S)
        except KernelConnectionLost:
            self._reconnect()
            return
        if message is not None:
            self._handle(message, request)
        elif self._doubts_since is not None and time.monotonic() - self._doubts_since > SILENCE_S:
            self._doubts_since = time.monotonic()
            if not is_busy(self._endpoint, self._connection.kernel, Deadline(CONNECT_TIMEOUT_S)):
                self._reply, self._is_idle = self._reply or {"status": "ok"}, True
                self._client.note("Outputs may be missing: `remote-runtime outputs PROFILE` shows what is recorded")

    def _handle(self, message: KernelMessage, request: str) -> None:
        kind, content = message.type, message.content
        if kind == "status" and content.get("execution_state") in ("restarting", "dead", "autorestarting"):
            name = self._connection.kernel[:8]
            raise MachineError("kernel-died", "The kernel ended while a cell ran", f"kernel {name}")
        if message.request == request and message.channel == "shell" and kind.endswith("_reply"):
            self._reply = content
        elif message.request == request and kind == "status" and content.get("execution_state") == "idle":
            self._is_idle, self._doubts_since = True, None
        elif message.request in self._cells and (kind in OUTPUT_TYPES or kind == "execute_input"):
            self._builder.add(OutputEvent(self._connection.kernel, message.request, kind, 0.0, False, content))
            self._show(kind, content)

    def _show(self, kind: str, content: Mapping[str, Any]) -> None:
        if kind == "stream":
            self._print("stderr" if content.get("name") == "stderr" else "stdout", _bytes(content.get("text")))
        elif kind == "error":
            trace = content.get("traceback")
            self._print("stderr", _bytes("\n".join(map(str, trace if isinstance(trace, list) else ()))) + b"\n")
        elif kind != "execute_input":
            self._client.display(kind, content)

    def _print(self, name: str, content: bytes) -> None:
        """The notebook gets what is not read here."""
        with contextlib.suppress(BrokenPipeError):
            self._client.write(name, content)

    def _store(self) -> None:
        """Put what the kernel has sent into the cells."""
        for request, cell in self._cells.items():
            built = self._builder.cell_of(request)
            if built is not None:
                cell["outputs"] = [stored_output(output) for output in built["outputs"]]
                cell["execution_count"] = built["execution_count"]

    def _reconnect(self) -> None:
        """Jupyter sends again what it has for this session. Raises ``HealthError``."""
        self._client.note("The connection to the kernel was reset: reconnecting")
        deadline = Deadline(RECONNECT_TIMEOUT_S)
        while True:
            try:
                self._connection.open(Deadline(CONNECT_TIMEOUT_S))
                self._doubts_since = time.monotonic()
                return
            except HealthError:
                if deadline.passed() or self._cancelled.is_set():
                    raise
            deadline.sleep(RETRY_S)


def _bytes(text: Any) -> bytes:
    return ("".join(map(str, text)) if isinstance(text, list) else str(text or "")).encode("utf-8", "replace")
