"""The child process of ``compute``: one order on stdin, progress and the answer on stdout (``wire``)."""

from __future__ import annotations

import gc
import io
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from ..core.access import LoginIdentity, keys_from_documents
from ..core.deadline import Deadline
from ..core.errors import RemoteRuntimeError
from . import handlers, worker_protocol
from .client import gcloud_config
from .instances import inventory

BACKGROUND_NICENESS = 10


def main() -> None:
    gc.disable()  # the thousands of classes of Google's client are no garbage, and this process ends in a moment
    lines = _lines_until_parent_goes()
    order = json.loads(lines.get())
    if order.get("in_background") and sys.platform != "win32":
        os.nice(BACKGROUND_NICENESS)
    within_s = float(order["within_s"])
    # The parent's clock started before this process did.
    remaining_s = min(within_s, max(0.0, float(order["until"]) - time.time()))
    deadline = _Within(within_s, remaining_s)
    try:
        answer = {"result": _carry_out(order, deadline, lambda news: _recorded(news, lines))}
    except RemoteRuntimeError as exc:
        answer = {"error": exc.as_dict()}
    _say(answer)


class _Within(Deadline):
    """The parent's deadline: it names the parent's limit, and ends when the parent's does."""

    def __init__(self, within_s: float, remaining_s: float) -> None:
        super().__init__(remaining_s)
        self.within_s = within_s


def _carry_out(order: dict[str, Any], deadline: Deadline, recorded: Callable[[dict[str, Any]], None]) -> Any:
    environ = _environ()
    given: dict[str, Any] = {"tell": lambda text: _say({"tell": text}), "deadline": deadline, "environ": environ}
    if order["do"] == "find":
        return asdict(
            handlers.find(
                worker_protocol.to_target(order["target"]),
                started=lambda instance: recorded({"started": worker_protocol.from_instance(instance)}),
                host_keys_within_s=float(order["host_keys_within_s"]),
                known=frozenset(order["known"]),
                may_start=order["may_start"],
                who=worker_protocol.to_who(order["who"]),
                **given,
            )
        )
    if order["do"] == "withdraw":
        return handlers.revoke_access(keys_from_documents(order["added"]), **given)
    if order["do"] == "projects":
        return asdict(inventory.list_projects(deadline=deadline, environ=environ))
    if order["do"] == "candidates":
        return [asdict(each) for each in inventory.list_instances(order["project"], **given)]
    if order["do"] == "permissions":
        return handlers.missing_permissions(worker_protocol.to_target(order["target"]), order["wanted"], **given)
    instance = worker_protocol.to_instance(order["instance"])
    if order["do"] == "read":
        return asdict(handlers.reload(instance, connect_by=order["connect"], **given))
    if order["do"] == "admit":
        admission = handlers.grant_access(
            instance,
            worker_protocol.to_who(order["who"]) or LoginIdentity(),
            key=order["key"],
            lifetime_s=float(order["lifetime_s"]),
            former=keys_from_documents(order["former"]),
            fresh=bool(order["fresh"]),
            adding=lambda key: recorded({"adding": asdict(key)}),
            **given,
        )
        return asdict(admission)
    if order["do"] == "change":
        return handlers.set_status(instance, order["action"], **given)
    if order["do"] == "diagnose":
        through_iap = next(iter(worker_protocol.to_errors(order["through_iap"])), None)
        found = handlers.diagnose(
            instance, order["code"], connect_by=order["connect"], through_iap=through_iap, **given
        )
        return worker_protocol.from_errors(found)
    if order["do"] == "put-back":
        return handlers.restore_status(instance, **given)
    raise ValueError(f"unknown order {order['do']!r}")


def _environ() -> dict[str, str]:
    """This process's environment; a proxy is never asked for what is on this computer (the demo's emulator)."""
    here = [host for service in gcloud_config.API_ENDPOINTS if (host := _host_here(service))]
    if here:
        present = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
        os.environ["no_proxy"] = ",".join(dict.fromkeys([*([present] if present else []), *here]))
    return dict(os.environ)


def _host_here(service: gcloud_config.ApiEndpoint) -> str:
    try:
        endpoint = gcloud_config.endpoint(os.environ, service)
    except RemoteRuntimeError:  # told to those who use it
        return ""
    return urlsplit(endpoint).hostname or "" if gcloud_config.is_on_loopback(endpoint) else ""


def _recorded(news: dict[str, Any], lines: queue.SimpleQueue[bytes]) -> None:
    """Returns when the parent has written down what is about to be done."""
    _say(news)
    lines.get()


def _lines_until_parent_goes() -> queue.SimpleQueue[bytes]:
    """What the parent sends. Its end of the pipe closes when it dies, in whatever way; then nobody would hear us."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    stdin = io.FileIO(sys.stdin.fileno(), closefd=False)

    def listen() -> None:
        # Unbuffered: at its end the interpreter aborts when a thread holds the lock of a buffer.
        while line := stdin.readline():
            lines.put(line)
        os._exit(0)

    threading.Thread(target=listen, name="parent", daemon=True).start()
    return lines


def _say(message: dict[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
