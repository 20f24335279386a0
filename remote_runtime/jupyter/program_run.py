"""Runs a program in a kernel and passes on what it prints, displays and reads, up to its exit status."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Mapping
from typing import Any

from ..core.deadline import Deadline
from ..core.errors import HealthError, MachineError
from ..core.sanitize import clean_line
from .health.endpoint import Endpoint
from .kernel_client import KernelConnection, KernelConnectionLost, KernelMessage
from .program import KernelProgram
from .program_client import INTERRUPTED, STREAMS, InputReader, ProgramClient, ProgramEnd, program_end
from .running_kernels import interrupt_kernel, is_running

CONNECT_TIMEOUT_S = 30.0
RECONNECT_TIMEOUT_S = 600.0
RECONNECT_INTERVAL_S = 1.0
INTERRUPT_TIMEOUT_S = 15.0
REPLY_TIMEOUT_S = 5.0
SILENCE_S = 5.0  # then the client requests what the server may have lost; both ends ignore what comes twice
POLL_S = 0.2
BUSY_AFTER_S = 1.0
MAX_RESUMES = 3  # without a new item
ACKNOWLEDGED_BYTES = 512 << 10
MAX_GAP_S = 10.0
DISPLAYS = ("display_data", "update_display_data", "execute_result", "clear_output")


class ProgramRun:
    """``cancelled``: set to interrupt the program; it may continue."""

    def __init__(
        self, endpoint: Endpoint, kernel: str, program: KernelProgram, client: ProgramClient, cancelled: threading.Event
    ) -> None:
        self._endpoint = endpoint
        self._program = program
        self._client = client
        self._cancelled = cancelled
        self._connection = KernelConnection(endpoint, kernel)
        self._input = InputReader(client, self._answer)
        self._requests: set[str] = set()
        self._received = self._acknowledged = self._unacknowledged_bytes = 0
        self._closed: set[str] = set()
        self._has_begun = self._is_interrupted = self._is_replied = self._has_left = False
        self._resumes = 0
        self._heard_at = self._gap_at = time.monotonic()
        self._gap_after = -1
        self._end: ProgramEnd | None = None

    def run(self) -> ProgramEnd:
        """Raises ``HealthError``, and ``MachineError`` ``kernel-died``."""
        self._connection.open(Deadline(CONNECT_TIMEOUT_S))
        try:
            self._execute(self._program.request_code(), self._program.id)
            self._wait_for_start()
            while self._end is None:
                if self._has_left:
                    return ProgramEnd(INTERRUPTED, None)
                self._step(POLL_S)
            self._acknowledge()
            reply_deadline = Deadline(REPLY_TIMEOUT_S)
            while not (self._is_replied or reply_deadline.passed()):
                self._step(POLL_S)
            return self._end
        except KernelConnectionLost as error:
            if self._end is not None:
                return self._end
            raise HealthError("not-answering", "The connection to the kernel was lost") from error
        finally:
            self._connection.close()

    def detach(self) -> None:
        """Run it without a client. Raises ``HealthError``."""
        try:
            self._connection.open(Deadline(CONNECT_TIMEOUT_S))
            self._execute(self._program.request_code(detach=True), self._program.id)
            # Answered beside the code that runs: then the kernel has the request too.
            request = self._connection.send("kernel_info_request", "control", {})
            deadline = Deadline(REPLY_TIMEOUT_S)
            while not deadline.passed():
                message = self._connection.receive(POLL_S)
                if message is not None and message.request == request and message.type == "kernel_info_reply":
                    return
        except KernelConnectionLost as error:
            raise HealthError("not-answering", "The connection to the kernel was lost") from error
        finally:
            self._connection.close()

    def leave(self) -> None:
        """The program stays running, and its output is recorded; ``run`` ends. For any thread."""
        self._try_to_send({"op": "leave"})
        self._has_left = True

    def _wait_for_start(self) -> None:
        busy_at = time.monotonic() + BUSY_AFTER_S
        while not self._has_begun and self._end is None:
            self._step(POLL_S)
            if time.monotonic() > busy_at and not self._has_begun:
                busy_at = float("inf")
                self._client.note("Waiting for the kernel: it starts, or runs other code")
            if self._is_interrupted and not self._has_begun:
                self._end = ProgramEnd(INTERRUPTED, None)
                self._is_replied = True

    def _step(self, timeout_s: float) -> None:
        """Handle the next message, if one comes in time."""
        try:
            if self._cancelled.is_set() and not self._is_interrupted:
                self._is_interrupted = True
                if self._has_begun:
                    interrupt_kernel(self._endpoint, self._connection.kernel, Deadline(INTERRUPT_TIMEOUT_S))
            message = self._connection.receive(0)
            if message is None:
                self._acknowledge()
                message = self._connection.receive(timeout_s)
            if message is not None:
                self._heard_at = time.monotonic()
                self._handle(message)
            elif self._has_begun and time.monotonic() - self._heard_at > SILENCE_S:
                self._resume()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise HealthError("not-answering", "The kernel sent an invalid message") from error
        except KernelConnectionLost:
            if self._end is not None:
                raise
            self._reconnect()

    def _handle(self, message: KernelMessage) -> None:
        content = message.content
        if message.type == "remote_runtime" and content.get("run") == self._program.id:
            if content.get("op") == "hello":
                self._has_begun = True
                self._send({"op": "go"})
            elif content.get("op") == "item":
                self._handle_item(content)
        elif message.type == "status" and content.get("execution_state") in ("restarting", "dead", "autorestarting"):
            raise _died_error(self._connection.kernel)
        elif message.request not in self._requests:
            return
        elif message.type == "stream" and content.get("name") in STREAMS:
            text = str(content.get("text", ""))  # of threads that an earlier request has left behind
            self._write(str(content["name"]), text.encode("utf-8", "replace"))
        elif message.type in DISPLAYS:
            self._client.display(message.type, content)
        elif message.type == "execute_reply":
            self._handle_reply(content)

    def _handle_reply(self, content: Mapping[str, Any]) -> None:
        self._is_replied = True
        if self._end is not None:
            return
        if content.get("status") != "ok":
            why = clean_line(f"{content.get('ename', content.get('status'))}: {content.get('evalue', '')}", 300)
            raise HealthError("kernel-did-not-answer", "The kernel can't run programs", why)
        self._resumes += 1
        if self._resumes > MAX_RESUMES:
            hint = f"`remote-runtime outputs PROFILE --run {self._program.id}` shows what is recorded"
            raise HealthError("not-answering", "The end of the code did not arrive", "", hint)
        if self._has_begun:  # it has stopped waiting for this client, which was away
            self._execute(self._program.resume_code())
        else:
            self._execute(self._program.request_code())

    def _handle_item(self, content: Mapping[str, Any]) -> None:
        number, item = content.get("number"), content.get("item")
        if not isinstance(number, int) or not isinstance(item, dict) or number <= self._received:
            return
        if number > self._received + 1:
            if self._may_fill_gap():
                return
            self._client.note(
                f"A part of the output is missing: `remote-runtime outputs PROFILE --run {self._program.id}`"
            )
        self._received, self._resumes = number, 0
        for kind, value in item.items():
            if kind == "end":
                self._end = program_end(value)
            elif kind == "display":
                self._client.display(str(value.get("type")), value["content"])
            elif kind == "ask":
                self._input.ask(value)
            elif kind.removesuffix("64") in STREAMS:
                text = base64.b64decode(value) if kind.endswith("64") else value.encode("ascii", "replace")
                self._write(kind.removesuffix("64"), text)
                self._unacknowledged_bytes += len(text)
        if self._unacknowledged_bytes > ACKNOWLEDGED_BYTES:
            self._acknowledge()

    def _may_fill_gap(self) -> bool:
        """After a reset, an item may overtake those that are sent again. Only what was published meanwhile is gone."""
        now = time.monotonic()
        if self._gap_after != self._received:
            self._gap_after, self._gap_at = self._received, now
            self._resume()
        return now - self._gap_at < MAX_GAP_S

    def _write(self, name: str, content: bytes) -> None:
        if name in self._closed:
            return
        try:
            self._client.write(name, content)
        except BrokenPipeError:
            self._closed.add(name)
            self._send({"op": "closed", "name": name})

    def _acknowledge(self) -> None:
        if self._received > self._acknowledged:
            self._acknowledged, self._unacknowledged_bytes = self._received, 0
            self._send({"op": "ack", "number": self._received})

    def _answer(self, number: int, content: bytes) -> None:
        self._try_to_send({"op": "input", "id": number, "data": base64.b64encode(content).decode()})

    def _execute(self, code: str, number: str = "") -> None:
        self._is_replied = False
        self._requests.add(self._connection.execute(code, silent=True, number=number))

    def _send(self, fields: Mapping[str, Any]) -> None:
        content = {"value": "", "remote_runtime": {**fields, "run": self._program.id}}
        self._connection.send("input_reply", "stdin", content)

    def _try_to_send(self, fields: Mapping[str, Any]) -> None:
        """From another thread: the loss of the connection is noticed in the first one."""
        try:
            self._send(fields)
        except KernelConnectionLost:
            return

    def _resume(self) -> None:
        self._heard_at = time.monotonic()
        self._send({"op": "resume", "number": self._received})
        self._input.answer_again()

    def _reconnect(self) -> None:
        """Raises ``HealthError``, ``MachineError`` ``kernel-died``."""
        self._client.note("The connection to the kernel was reset: reconnecting")
        deadline = Deadline(RECONNECT_TIMEOUT_S)
        while True:
            try:
                attempt = Deadline(CONNECT_TIMEOUT_S)
                if not is_running(self._endpoint, self._connection.kernel, attempt):
                    raise _died_error(self._connection.kernel)
                self._connection.open(attempt)
                if self._has_begun:
                    self._resume()
                self._execute(self._program.resume_code() if self._has_begun else self._program.request_code())
                return
            except (HealthError, KernelConnectionLost) as error:
                if deadline.passed() or self._cancelled.is_set():
                    raise HealthError("not-answering", "The connection to the kernel was lost", str(error)) from error
            deadline.sleep(RECONNECT_INTERVAL_S)


def _died_error(kernel: str) -> MachineError:
    return MachineError("kernel-died", "The kernel ended while the code ran", f"kernel {kernel[:8]}")
