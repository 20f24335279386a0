"""One program's conversation with its client."""

from __future__ import annotations

import base64
import errno
import os
import threading
import time
from typing import Any

from .items import ITEM_BYTES, STREAMS, ItemQueue

START_TIMEOUT_S = 15.0
GREETING_INTERVAL_S = 0.5  # it is lost where Jupyter has not connected yet to this channel of a new kernel
LAST_ANSWER_TIMEOUT_S = 30.0
ABSENT_S = 600.0  # a client that has acknowledged nothing for so long is away
PUBLISHED_BYTES_PER_S = 20 << 20


class Run:
    """``code``: shown in the record of outputs. Threads of the program call ``write``, ``display``, ``ask``; the pump's
    thread calls ``send_items`` and ``receive``."""

    def __init__(self, request: dict[str, Any], kernel: Any, pump: Any) -> None:
        self.id = str(request["run"])
        self.tty = {name: bool(request["tty"].get(name)) for name in ("stdin", *STREAMS)}
        self.queue = ItemQueue(pump.changed)
        self._changed: threading.Condition = pump.changed
        self._pump = pump
        self._kernel = kernel
        self._code = str(request["code"])
        self._has_begun = False
        self._greeted_at = 0.0
        self._inputs: dict[int, bytes] = {}
        self._asked = 0
        self.attach()
        if request["detach"]:
            self.leave()

    def attach(self) -> None:
        """Use the client of the kernel's present request."""
        import zmq

        self.message_fd = int(self._kernel.stdin_socket.get(zmq.FD))
        self._parent, self._identity = _parent_header(self._kernel), _parent_identity(self._kernel)

    def wait_for_client(self) -> bool:
        """Whether it is there, or never will be. A request may have waited in the kernel for longer than its client."""
        with self._changed:
            self._has_begun = self.queue.is_away
        return self._has_begun or self._wait(lambda: self._has_begun, START_TIMEOUT_S)

    def wait_until_received(self) -> None:
        """Until the client has all items, or gives no sign of life."""
        self.queue.heard_at = time.monotonic()
        self._pump.wake()
        self._wait(lambda: self.queue.is_empty() or self.queue.silence_s() > LAST_ANSWER_TIMEOUT_S, ABSENT_S)

    def write(self, name: str, content: bytes) -> None:
        """Blocks while the client is behind. Raises ``BrokenPipeError`` if the stream is not read any more."""
        for start in range(0, len(content), ITEM_BYTES):
            self._put(name, content[start : start + ITEM_BYTES])

    def display(self, message: dict[str, Any]) -> None:
        """A message of Jupyter's protocol."""
        self._put("display", {"type": message["header"]["msg_type"], "content": message["content"]})

    def end(self, status: int, error: dict[str, str] | None) -> None:
        with self._changed:
            self.queue.append("end", {"status": status, "error": error})

    def ask(self, max_bytes: int, *, prompt: str = "", password: bool = False) -> bytes:
        """What the client has read for the program; empty at the end of the input, and without a client."""
        with self._changed:
            self._asked += 1
            number = self._asked
        self._put("ask", {"id": number, "prompt": prompt, "password": password, "bytes": max_bytes})
        self._wait(lambda: number in self._inputs or self.queue.is_away)
        return self._inputs.pop(number, b"")

    def _put(self, kind: str, value: Any) -> None:
        with self._changed:
            self._pump.drain()  # what other processes have printed before comes first
            while self.queue.is_full() and kind not in self.queue.closed:
                self._changed.wait(0.5)
            if kind in self.queue.closed:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            self.queue.append(kind, value)
        self._pump.wake()

    def _wait(self, is_done: Any, timeout_s: float = float("inf")) -> bool:
        until = time.monotonic() + timeout_s
        with self._changed:
            while not is_done():
                if time.monotonic() > until:
                    return False
                self._changed.wait(0.5)  # short: on Windows nothing interrupts it
        return True

    def leave(self) -> None:
        """Nothing is read any more: publish the items for the record of outputs."""
        with self._changed:
            self.queue.is_away = self._has_begun = True
            self.queue.send_again()
            self._changed.notify_all()
        self._publish("execute_input", {"code": self._code, "execution_count": self._kernel.execution_count})

    def greet(self) -> None:
        if not self._has_begun and time.monotonic() - self._greeted_at > GREETING_INTERVAL_S:
            self._greeted_at = time.monotonic()
            self._send("hello")

    def send_items(self) -> None:
        self.greet()
        if self.queue.silence_s() > ABSENT_S:
            self.leave()
        while self._has_begun:
            with self._changed:
                item = self.queue.next_unsent()
                is_away = self.queue.is_away
            if item is None:
                return
            if not is_away:
                self._send("item", number=item.number, item=item.document())
            elif item.kind in STREAMS:
                self._publish("stream", {"name": item.kind, "text": bytes(item.value).decode("utf-8", "replace")})
                time.sleep(item.size / PUBLISHED_BYTES_PER_S)
            elif item.kind == "display":
                self._publish(item.value["type"], item.value["content"])
            elif item.kind == "end":
                self._publish("stream", {"name": "stdout", "text": "", "remote_runtime": item.value})

    def receive(self) -> None:
        import zmq

        while self._kernel.stdin_socket.get(zmq.EVENTS) & zmq.POLLIN:
            try:
                _, message = self._kernel.session.recv(self._kernel.stdin_socket, zmq.NOBLOCK)
            except Exception:  # noqa: BLE001, S112  # a message without a signature, or one that came twice
                continue
            content = message["content"].get("remote_runtime") if message else None
            if isinstance(content, dict) and content.get("run") == self.id:
                with self._changed:
                    self.queue.heard_at = time.monotonic()
                    self._handle(content)
                    self._changed.notify_all()

    def _handle(self, content: dict[str, Any]) -> None:
        op = content["op"]
        if op == "go":
            self._has_begun = True
        elif op in ("ack", "resume"):
            self.queue.acknowledge(content["number"])
            if op == "resume":
                self.queue.is_away = False
                self.queue.send_again()
        elif op == "input":
            self._inputs[content["id"]] = base64.b64decode(content["data"])
        elif op == "closed":
            self.queue.closed.add(content["name"])
        elif op == "leave":
            self.leave()

    def _send(self, op: str, **fields: Any) -> None:
        content = {"run": self.id, "op": op, **fields}
        self._kernel.session.send(
            self._kernel.stdin_socket, "remote_runtime", content, self._parent, ident=self._identity
        )

    def _publish(self, kind: str, content: dict[str, Any]) -> None:
        self._kernel.session.send(self._kernel.iopub_socket, kind, content, self._parent, ident=kind.encode())


def _parent_header(kernel: Any) -> Any:
    parent = kernel.get_parent("shell") if hasattr(kernel, "get_parent") else kernel._parent_header
    return parent


def _parent_identity(kernel: Any) -> Any:
    """The address of the client on the kernel's sockets: ipykernel 5, 6 and 7 keep it in different ways."""
    if hasattr(kernel, "_get_shell_context_var"):
        return kernel._get_shell_context_var(kernel._shell_parent_ident)
    known = kernel._parent_ident
    return known["shell"] if isinstance(known, dict) else known
