"""``/api/remote-runtime/outputs``: the recorded outputs of the kernels as JSON lines.

The first line is ``{"schema": 1, "paused": WHY, "kernels": [{"id", "path", "running", "requests", "bytes", "cut"}]}``;
``cut`` is ``{"messages", "bytes", "why"}`` or null. Each further line is a message: ``{"kernel", "request", "at",
"type", "earlier", "content"}``, for each kernel in the order of its messages; ``content`` is as in Jupyter's protocol,
``at`` in seconds since the epoch. A request begins with its ``execute_input`` where that is known; ``earlier``: a
client has received that, and perhaps some of the request's output.

In the query, ``kernel`` names one kernel, and with ``follow=1`` the answer continues with what is recorded later.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Dict, List, Optional, Set

from tornado.gen import sleep
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler, authenticated

from ..server_compat import kernel_paths
from .journal import OutputMessage
from .record import KernelRecord
from .recorder import OutputRecorder

_FLUSH_BYTES = 256 << 10
_BATCH_S = 0.1
_CHECK_INTERVAL = timedelta(seconds=60)  # finds out whether the client is still there


class OutputsHandler(RequestHandler):
    """Mixed with the server's own API handler, which authenticates."""

    _track_activity = False
    _is_gone = False

    def initialize(self, recorder: Optional[OutputRecorder]) -> None:
        self._recorder = recorder

    @authenticated
    async def get(self) -> None:
        recorder, wanted = self._recorder, self.get_query_argument("kernel", "")
        if recorder is None:
            raise HTTPError(404, "this server does not record outputs")
        if wanted and wanted not in recorder.records:
            raise HTTPError(404, "this kernel has no record")
        self.set_header("Content-Type", "application/x-ndjson")
        self.set_header("Cache-Control", "no-store")
        self.write(await self._head(recorder, wanted))
        try:
            await self._send(recorder, wanted)
        except StreamClosedError:
            return

    def on_connection_close(self) -> None:
        self._is_gone = True
        if self._recorder is not None:
            self._recorder.changed.notify_all()

    async def _head(self, recorder: OutputRecorder, wanted: str) -> bytes:
        paths = await kernel_paths(self.settings)
        kernels = [
            {
                "id": record.kernel_id,
                "path": paths.get(record.kernel_id),
                "running": record.kernel_id in self.settings["kernel_manager"],
                **_size(record),
            }
            for record in recorder.records.values()
            if wanted in ("", record.kernel_id)
        ]
        return _line({"schema": 1, "paused": recorder.summary()["paused"], "kernels": kernels})

    async def _send(self, recorder: OutputRecorder, wanted: str) -> None:
        """Raises ``StreamClosedError``."""
        positions: Dict[str, int] = {}
        shown: Dict[str, Set[str]] = {}
        follow = self.get_query_argument("follow", "") == "1"
        while not self._is_gone:
            for kernel_id, record in list(recorder.records.items()):
                if wanted in ("", kernel_id):
                    for messages in record.read(positions.get(kernel_id, 0), shown.setdefault(kernel_id, set())):
                        positions[kernel_id] = messages[-1].seq + 1
                        await self._write(kernel_id, messages)
            await self.flush()
            if not follow:
                return
            await recorder.changed.wait(_CHECK_INTERVAL)
            await sleep(_BATCH_S)

    async def _write(self, kernel_id: str, messages: List[OutputMessage]) -> None:
        waiting = 0
        for message in messages:
            line = _message_line(kernel_id, message)
            self.write(line)
            waiting += len(line)
            if waiting >= _FLUSH_BYTES:
                waiting = 0
                await self.flush()
        await self.flush()


def _size(record: KernelRecord) -> Dict[str, Any]:
    size = record.size()
    cut = {"messages": size.cut.messages, "bytes": size.cut.size, "why": size.cut.why} if size.cut.messages else None
    return {"requests": size.requests, "bytes": size.size, "cut": cut}


def _message_line(kernel_id: str, message: OutputMessage) -> bytes:
    head = {
        "kernel": kernel_id,
        "request": message.request,
        "at": message.at,
        "type": message.type,
        "earlier": message.seq < 0,
    }
    # The content of most messages has hundreds of times the bytes of the rest: it is not parsed.
    content = message.content.replace(b"\n", b" ").replace(b"\r", b" ")
    return json.dumps(head).encode()[:-1] + b', "content": ' + content + b"}\n"


def _line(document: Dict[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"
