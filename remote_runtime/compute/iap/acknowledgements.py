"""Counts the bytes sent, received and acknowledged in one session, over all of its connections."""

from __future__ import annotations

from collections import deque

from .messages import MAX_ARRAY_BYTES, Malformed

MAX_UNACKNOWLEDGED_BYTES = 8 << 20
_ACK_EVERY_BYTES = 32 << 10


class AckTracker:
    """Keeps every chunk that is sent until the relay acknowledges it: a resumed session sends the rest again.

    ``received``: bytes from the relay. ``unacknowledged``: bytes to the relay that are kept, sent or not.
    """

    def __init__(self) -> None:
        self.received = 0
        self.unacknowledged = 0
        self._acked_received = 0
        self._acked_sent = 0
        self._sent: deque[memoryview] = deque()
        self._sent_bytes = 0
        self._unsent: deque[memoryview] = deque()

    @property
    def has_room(self) -> bool:
        return self.unacknowledged < MAX_UNACKNOWLEDGED_BYTES

    @property
    def all_sent(self) -> bool:
        return not self._unsent

    def enqueue(self, content: bytes) -> None:
        """Appends bytes to be sent."""
        self.unacknowledged += len(content)
        view = memoryview(content)
        self._unsent.extend(view[at : at + MAX_ARRAY_BYTES] for at in range(0, len(view), MAX_ARRAY_BYTES))

    def next_chunk(self) -> memoryview | None:
        """The next chunk to send, which counts as sent from now on."""
        if not self._unsent:
            return None
        chunk = self._unsent.popleft()
        self._sent.append(chunk)
        self._sent_bytes += len(chunk)
        return chunk

    def on_ack(self, received: int) -> None:
        """The relay has received ``received`` bytes since the session began. Raises ``Malformed``."""
        count = received - self._acked_sent
        if count < 0:
            raise Malformed(f"it acknowledged {self._acked_sent} bytes, and now only {received}")
        if count > self._sent_bytes:
            raise Malformed(f"it acknowledged {received} bytes, {self._acked_sent + self._sent_bytes} were sent")
        self._acked_sent = received
        self._sent_bytes -= count
        self.unacknowledged -= count
        while count:
            chunk = self._sent.popleft()
            if len(chunk) > count:
                self._sent.appendleft(chunk[count:])
                break
            count -= len(chunk)

    def on_resume(self, received: int) -> None:
        """A new connection begins; the relay has received ``received`` bytes. Raises ``Malformed``."""
        self.on_ack(received)
        self._unsent.extendleft(reversed(self._sent))
        self._sent.clear()
        self._sent_bytes = 0
        self._acked_received = self.received  # the request to resume contains it

    def ack_due(self, *, idle: bool) -> bool:
        """True after more than 32 KiB; after any byte if ``idle``."""
        return self.received - self._acked_received > (0 if idle else _ACK_EVERY_BYTES)

    def ack(self) -> int:
        """The count to send to the relay."""
        self._acked_received = self.received
        return self.received
