"""Subscribes to the kernels that clients connect to, and follows what these clients receive."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Union

from tornado.ioloop import IOLoop
from tornado.locks import Condition
from tornado.websocket import WebSocketHandler

from ..own_requests import HEADER
from .budget import OutputBudget
from .client import KernelClient
from .record import KernelRecord
from .transports import transport_of

MAX_REPLAY_BYTES = 64 << 20
_FORGET_AFTER_S = 5.0
LEAVES_OUTPUTS = "exec"  # the header of its WebSockets


class OutputRecorder:
    """``manager``: the server's kernel manager. ``changed``: notified when there may be more recorded outputs."""

    def __init__(self, manager: Any, budget: OutputBudget) -> None:
        self.changed = Condition()
        self.records: Dict[str, KernelRecord] = {}
        self.budget = budget
        self._manager = manager
        self._subscriptions: Dict[str, Any] = {}

    def watch(self, handler: WebSocketHandler) -> None:
        """Called when a WebSocket's handshake is done; does nothing for those that are no kernel's. What one of
        ``exec`` receives is recorded all the same: it has other ways, and ignores what belongs to other requests."""
        kernel_id = getattr(handler, "kernel_id", None)
        if kernel_id not in self._manager:
            return
        record = self._subscribe(str(kernel_id))
        if record is not None and handler.request.headers.get(HEADER) != LEAVES_OUTPUTS:
            _follow(handler, record, lambda: self._on_client_gone(record))

    def forget_ended_kernels(self) -> None:
        """Close the subscriptions to kernels that were shut down. Their outputs stay."""
        for kernel_id in [each for each in self._subscriptions if each not in self._manager]:
            self._unsubscribe(kernel_id)

    def summary(self) -> Dict[str, Any]:
        """``{"requests": n, "bytes": n, "paused": WHY}``, of all kernels."""
        self.forget_ended_kernels()
        self.budget.is_low()
        sizes = [record.size() for record in self.records.values()]
        return {
            "requests": sum(each.requests for each in sizes),
            "bytes": sum(each.size for each in sizes),
            "paused": self.budget.paused,
        }

    def _subscribe(self, kernel_id: str) -> Optional[KernelRecord]:
        kernel = self._manager.get_kernel(kernel_id)
        if not hasattr(kernel, "connect_iopub"):  # one that runs behind a gateway
            return None
        record = self.records.get(kernel_id)
        if record is None:
            record = self.records[kernel_id] = KernelRecord(kernel_id, self.budget)
        ports = list(getattr(kernel, "ports", ()))
        stream, known_ports = self._subscriptions.get(kernel_id, (None, None))
        if stream is None or ports != known_ports:
            self._unsubscribe(kernel_id)
            stream = kernel.connect_iopub()
            stream.on_recv(lambda parts: self._on_published(record, parts))
            self._subscriptions[kernel_id] = stream, ports
        return record

    def _unsubscribe(self, kernel_id: str) -> None:
        stream, _ = self._subscriptions.pop(kernel_id, (None, None))
        if stream is not None and not stream.closed():
            stream.on_recv(None)
            stream.close()

    def _on_published(self, record: KernelRecord, parts: List[bytes]) -> None:
        record.on_published(parts)
        if record.unwatched_bytes > MAX_REPLAY_BYTES:
            # Jupyter keeps all of it in memory for a client that comes back, and sends it little of that.
            record.unwatched_bytes = 0
            if record.kernel_id in self._manager:
                self._manager.stop_buffering(record.kernel_id)
        self.changed.notify_all()

    def _on_client_gone(self, record: KernelRecord) -> None:
        self.changed.notify_all()
        IOLoop.current().call_later(_FORGET_AFTER_S, self.forget_ended_kernels)


def _follow(handler: WebSocketHandler, record: KernelRecord, on_gone: Callable[[], None]) -> None:
    """Let the record know what is written to the WebSocket, and when it is closed."""
    client: KernelClient = record.add_client(transport_of(handler))
    write, close = handler.write_message, handler.on_close

    def write_message(message: Union[str, bytes, Dict[str, Any]], binary: bool = False) -> Any:
        done = write(message, binary)
        client.on_written(message, done)
        return done

    def on_close() -> None:
        record.remove_client(client)
        try:
            close()
        finally:
            on_gone()

    handler.write_message = write_message  # type: ignore[method-assign]  # Jupyter calls it, in all versions
    handler.on_close = on_close  # type: ignore[method-assign]
