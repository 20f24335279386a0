"""Gives commands the keeper's connection to the machine: they run programs on it and connect to its ports."""

from __future__ import annotations

import base64
import contextlib
import hmac
import logging
import queue
import secrets
import socket
import threading
from typing import Any

from ..core.deadline import Deadline
from ..core.errors import LocalError, RemoteRuntimeError
from ..state.ipc import ControlChannel, Message
from ..targets import TargetSession

log = logging.getLogger(__name__)
CONNECT_TIMEOUT_S = 10.0
SECRET_BYTES = 32
WAIT_S = 3600.0  # for a message; the end of the connection ends it too


def run_on_machine(session: TargetSession | None, name: str, channel: ControlChannel, message: Message) -> None:
    """Answer ``{"op": "run", "argv", "stdin", "within_s", "interactive"}``, where ``stdin`` is base64.

    Sends ``{"event": "line", "text"}`` for each line of stdout, then ``{"event": "exited", "status", "stderr",
    "forced"}`` or ``{"event": "failed", "error"}``. The client may send ``{"op": "input", "data"}``, with null for the
    end, if it is interactive, and ``{"op": "done"}`` when it has read enough; the command ends when it disconnects.
    """
    inputs: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    is_done, has_left = threading.Event(), threading.Event()

    def receive() -> None:
        try:
            while True:
                reply = channel.receive(WAIT_S) or {}
                if reply.get("op") == "input":
                    inputs.put(None if reply["data"] is None else base64.b64decode(reply["data"]))
                elif reply.get("op") == "done":
                    is_done.set()
        except (EOFError, OSError, ValueError):
            has_left.set()

    def next_input() -> bytes | None:
        return b"" if inputs.empty() else inputs.get()

    def on_line(text: str) -> bool:
        channel.send({"event": "line", "text": text})
        return is_done.is_set()

    threading.Thread(target=receive, daemon=True, name="control-client-input").start()
    try:
        result = _open(session, name).run(
            message["argv"],
            stdin=base64.b64decode(message["stdin"]),
            on_line=on_line,
            deadline=Deadline(float(message["within_s"]), has_left),
            reply=next_input if message["interactive"] else None,
        )
    except RemoteRuntimeError as error:
        channel.send({"event": "failed", "error": error.as_dict()})
        return
    channel.send({"event": "exited", "status": result.status, "stderr": result.stderr, "forced": result.forced})


def connect_to_machine(session: TargetSession | None, name: str, channel: ControlChannel, message: Message) -> None:
    """Answer ``{"op": "connect", "host", "port", "within_s"}`` with ``{"event": "listening", "port", "secret"}``.

    One connection to that port of 127.0.0.1 that begins with the secret, in hexadecimal, becomes a connection to
    ``host``:``port`` of the machine. ``{"event": "connected"}`` or ``{"event": "failed", "error"}`` follows.
    """
    try:
        opened = _open(session, name)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            secret = secrets.token_hex(SECRET_BYTES // 2)
            channel.send({"event": "listening", "port": listener.getsockname()[1], "secret": secret})
            client = _accept(listener, secret.encode(), Deadline(CONNECT_TIMEOUT_S))
        opened.forward_socket(client, message["host"], int(message["port"]), within_s=float(message["within_s"]))
    except RemoteRuntimeError as error:
        channel.send({"event": "failed", "error": error.as_dict()})
        return
    except OSError as error:
        why = error.strerror or str(error)
        failure = LocalError("port-in-use", "Can't open a port of 127.0.0.1 for the connection", why)
        channel.send({"event": "failed", "error": failure.as_dict()})
        return
    channel.send({"event": "connected"})


def _open(session: TargetSession | None, name: str) -> TargetSession:
    if session is None or session.closed:
        why = "the connection to the machine is lost, and the background process reconnects"
        raise LocalError("not-up", f"{name} is not connected now", why, "Try again when `status` shows it as ready")
    return session


def _accept(listener: socket.socket, secret: bytes, deadline: Deadline) -> socket.socket:
    """The first connection that begins with ``secret``. Raises ``TimeoutError``."""
    while not deadline.passed():
        listener.settimeout(max(0.01, deadline.remaining_s()))
        client, _ = listener.accept()
        client.settimeout(max(0.01, deadline.within(CONNECT_TIMEOUT_S / 4).remaining_s()))
        with contextlib.suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hmac.compare_digest(_read(client, len(secret)), secret):
                return client
        client.close()
    raise TimeoutError("the command did not connect")


def _read(client: socket.socket, size: int) -> bytes:
    received: Any = b""
    while len(received) < size and (part := client.recv(size - len(received))):
        received += part
    return bytes(received)
