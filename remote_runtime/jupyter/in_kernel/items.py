"""The items of one program, in the order in which they came to be, until the client has acknowledged them."""

from __future__ import annotations

import base64
import threading
import time
from collections import deque
from typing import Any

WINDOW_BYTES = 4 << 20  # without an acknowledgement
ITEM_BYTES = 64 << 10
OTHER_BYTES = 256  # that an item counts for, beside its content
STREAMS = ("stdout", "stderr")


class OutputItem:
    """``kind``: as in the protocol, or ``execute_input``, which is only published. ``value``: bytes of a stream, else a
    document. ``was_sent``: the client may have it, so it must not change."""

    def __init__(self, number: int, kind: str, value: Any) -> None:
        self.number = number
        self.kind = kind
        self.value = value
        self.was_sent = False
        self.size = 0 if kind in STREAMS else OTHER_BYTES + len(str(value))

    def document(self) -> dict[str, Any]:
        if self.kind not in STREAMS:
            return {self.kind: self.value}
        content = bytes(self.value)
        if content.isascii():
            return {self.kind: content.decode("ascii")}
        return {self.kind + "64": base64.b64encode(content).decode("ascii")}


class ItemQueue:
    """``changed``: its lock, which callers hold. ``is_away``: no client reads. ``closed``: streams that are
    not read."""

    def __init__(self, changed: threading.Condition) -> None:
        self.changed = changed
        self.is_away = False
        self.closed: set[str] = set()
        self.heard_at = time.monotonic()
        self._size = 0
        self._count = 0
        self._unsent: deque[OutputItem] = deque()
        self._unacknowledged: deque[OutputItem] = deque()

    def is_full(self) -> bool:
        return self._size > WINDOW_BYTES

    def is_empty(self) -> bool:
        return not (self._unsent or self._unacknowledged)

    def silence_s(self) -> float:
        """For how long the client has not acknowledged what it was sent."""
        return time.monotonic() - self.heard_at if self._unacknowledged else 0.0

    def append(self, kind: str, value: Any) -> None:
        last = self._unsent[-1] if self._unsent else None
        if kind not in STREAMS:
            self._append(kind, value)
        elif last is not None and last.kind == kind and not last.was_sent and last.size + len(value) <= ITEM_BYTES:
            last.value += value
            last.size += len(value)
            self._size += len(value)
        else:
            self._append(kind, bytearray(value))

    def _append(self, kind: str, value: Any) -> None:
        self._count += 1
        item = OutputItem(self._count, kind, value)
        item.size += len(value) if kind in STREAMS else 0
        self._size += item.size
        self._unsent.append(item)

    def next_unsent(self) -> OutputItem | None:
        """It counts as sent; while the client is away, as acknowledged."""
        if not self._unsent:
            return None
        item = self._unsent.popleft()
        item.was_sent = True
        if self.is_away:
            self._size -= item.size
        else:
            if not self._unacknowledged:
                self.heard_at = time.monotonic()
            self._unacknowledged.append(item)
        self.changed.notify_all()
        return item

    def acknowledge(self, number: int) -> None:
        """All up to ``number`` have arrived."""
        while self._unacknowledged and self._unacknowledged[0].number <= number:
            self._size -= self._unacknowledged.popleft().size
        self.changed.notify_all()

    def send_again(self) -> None:
        """What is not acknowledged."""
        self._unsent.extendleft(reversed(self._unacknowledged))
        self._unacknowledged.clear()
