"""The worker process of ``compute``: reads a request from stdin, writes progress and the result to stdout."""

from __future__ import annotations

import gc
import io
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ..core.deadline import Deadline
from ..core.errors import RemoteRuntimeError
from .client import gcloud_config
from .handlers import HANDLERS
from .worker_protocol import decode, encode


def main() -> None:
    gc.disable()  # the thousands of classes of Google's client are no garbage, and this process ends in a moment
    lines = _lines_until_parent_exits()
    request = decode(lines.get())
    options = request["options"] | {name: _callback(name, lines) for name in request["callbacks"]}
    try:
        result = HANDLERS[request["call"]](
            *request["arguments"],
            progress=lambda text: _send({"progress": text}),
            deadline=_ParentDeadline(float(request["timeout_s"]), float(request["until"])),
            environ=_environ(),
            **options,
        )
    except RemoteRuntimeError as error:
        _send({"error": error})
    else:
        _send({"result": result})


class _ParentDeadline(Deadline):
    """``until``: the end by the wall clock; the parent's clock started before this process did. ``timeout_s``: the
    parent's, which errors name."""

    def __init__(self, timeout_s: float, until: float) -> None:
        super().__init__(min(timeout_s, max(0.0, until - time.time())))
        self.timeout_s = timeout_s


def _callback(name: str, lines: queue.SimpleQueue[bytes]) -> Callable[[Any], None]:
    def call_parent(argument: Any) -> None:
        """Returns when the parent's callback has returned."""
        _send({"callback": name, "argument": argument})
        lines.get()

    return call_parent


def _environ() -> dict[str, str]:
    """This process's environment, in which no proxy is used for this computer's own addresses (the demo's emulator)."""
    own_hosts = [host for api in gcloud_config.API_ENDPOINTS if (host := _own_host(api))]
    if own_hosts:
        present = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
        os.environ["no_proxy"] = ",".join(dict.fromkeys([*([present] if present else []), *own_hosts]))
    return dict(os.environ)


def _own_host(api: gcloud_config.ApiEndpoint) -> str:
    """The host of the API's address if that is a loopback address, else empty."""
    try:
        endpoint = gcloud_config.endpoint(os.environ, api)
    except RemoteRuntimeError:  # raised again where the API is used
        return ""
    return urlsplit(endpoint).hostname or "" if gcloud_config.is_on_loopback(endpoint) else ""


def _lines_until_parent_exits() -> queue.SimpleQueue[bytes]:
    """The lines that the parent sends. This process exits when the parent's end of the pipe closes."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    stdin = io.FileIO(sys.stdin.fileno(), closefd=False)

    def read() -> None:
        # Unbuffered: when the interpreter exits, it aborts if a thread holds the lock of a buffer.
        while line := stdin.readline():
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, name="parent", daemon=True).start()
    return lines


def _send(message: Mapping[str, Any]) -> None:
    sys.stdout.buffer.write(encode(message))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
