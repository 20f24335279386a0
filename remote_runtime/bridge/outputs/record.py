"""One kernel's recorded outputs: those messages that no client has received, and none that is there still may."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set

from .budget import OutputBudget
from .client import MAX_EARLY, KernelClient, WebSocketTransport, hash_of_id
from .journal import RECORDED_TYPES, CutCount, Journal, OutputMessage

_DELIMITER = b"<IDS|MSG>"  # before the signature: jupyter_client, "The Wire Protocol"
_MIN_REQUESTS = 8
_MAX_INPUT_BYTES = 16 << 20


class _Request:
    """``message``: its ``execute_input``; ``last``: the number of its last message."""

    def __init__(self, message: OutputMessage, number: int) -> None:
        self.message = message
        self.last = number


class RecordSize(NamedTuple):
    """Requests with recorded outputs, the bytes of these, and what did not fit."""

    requests: int
    size: int
    cut: CutCount


class KernelRecord:
    """Used in the event loop."""

    def __init__(self, kernel_id: str, budget: OutputBudget) -> None:
        self.kernel_id = kernel_id
        self.clients: List[KernelClient] = []
        self.unwatched_bytes = 0  # published since the last client has gone
        self._journal = Journal(budget)
        self._arrived_early: Dict[int, None] = {}  # by clients that are gone; in order
        self._requests: "OrderedDict[str, _Request]" = OrderedDict()

    def add_client(self, transport: WebSocketTransport) -> KernelClient:
        client = KernelClient(self._journal, transport)
        self.clients.append(client)
        self.unwatched_bytes = 0
        return client

    def remove_client(self, client: KernelClient) -> None:
        client.settle()
        if client in self.clients:
            self.clients.remove(client)
        for id_hash in client.early_arrivals():
            self._arrived_early[id_hash] = None
        while len(self._arrived_early) > MAX_EARLY:
            del self._arrived_early[next(iter(self._arrived_early))]

    def on_published(self, parts: Sequence[bytes]) -> None:
        """A message from the kernel's iopub socket. What is no message of Jupyter's protocol is ignored."""
        message, message_id = _parsed(parts)
        if not message_id:
            return
        id_hash = hash_of_id(message_id.encode())
        number = self._journal.append(message, id_hash)
        if id_hash in self._arrived_early:
            del self._arrived_early[id_hash]
            self._journal.deliver(number, number + 1)
        if not self.clients:
            self.unwatched_bytes += 0 if message is None else len(message.content)
        for client in self.clients:
            client.on_published(number, id_hash)
            client.settle()
        if message is not None:
            self._remember(message, number)

    def size(self) -> RecordSize:
        end, requests, total = self._end(), set(), 0
        for block in self._journal.blocks(0, end):
            if block.end <= end and next(self._journal.delivered.gaps(block.first, block.end)) == (
                block.first,
                block.end,
            ):
                requests |= block.requests
                total += block.size
            else:
                for message in self._journal.read(block, 0, end):
                    requests.add(message.request)
                    total += len(message.content)
        return RecordSize(len(requests), total if requests else 0, self._journal.cut)

    def read(self, start: int, shown: Set[str]) -> Iterator[List[OutputMessage]]:
        """Recorded messages from the number ``start`` on, in order. A request that is not in ``shown``, and is added to
        it, begins with its ``execute_input`` where that is known, with the number -1 if it is no recorded message
        itself."""
        end = self._end()
        for block in self._journal.blocks(start, end):
            found: List[OutputMessage] = []
            for message in self._journal.read(block, start, end):
                if message.request not in shown:
                    shown.add(message.request)
                    request = self._requests.get(message.request)
                    if message.type != "execute_input" and request is not None:
                        found.append(request.message)
                found.append(message)
            if found:
                yield found

    def _end(self) -> int:
        """From this number on, a client that is there may still get the messages."""
        for client in self.clients:
            client.settle()
        there = [client.begins for client in self.clients if client.transport.is_attached()]
        return min(there, default=self._journal.next)

    def _remember(self, message: OutputMessage, number: int) -> None:
        """Keep the code of requests whose later messages may be recorded."""
        request = self._requests.get(message.request)
        if request is not None:
            request.last = number
        elif message.type == "execute_input":
            self._requests[message.request] = _Request(message._replace(seq=-1), number)
            self._forget_requests()

    def _forget_requests(self) -> None:
        total = sum(len(request.message.content) for request in self._requests.values())
        while len(self._requests) > 1:
            oldest = next(iter(self._requests.values()))
            is_old = len(self._requests) > _MIN_REQUESTS and oldest.last < self._journal.first
            if not is_old and total <= _MAX_INPUT_BYTES:
                return
            total -= len(oldest.message.content)
            self._requests.popitem(last=False)


def _parsed(parts: Sequence[bytes]) -> "tuple[Optional[OutputMessage], str]":
    """The message if its type is recorded, and its id; an empty id for what is no message."""
    try:
        at = list(parts).index(_DELIMITER)
        header, parent = _object(parts[at + 2]), _object(parts[at + 3])
        message_id, kind, content = str(header["msg_id"]), header["msg_type"], bytes(parts[at + 5])
    except (ValueError, KeyError, IndexError):
        return None, ""
    if kind not in RECORDED_TYPES:
        return None, message_id
    return OutputMessage(0, kind, str(parent.get("msg_id", "")), time.time(), content), message_id


def _object(content: bytes) -> Dict[str, Any]:
    """Raises ``ValueError``."""
    value = json.loads(content)
    if not isinstance(value, dict):
        raise ValueError("a header is no object")
    return value
