"""What has been sent, received and acknowledged in one session, over all of its connections."""

from __future__ import annotations

from collections import deque

from .messages import MOST_BYTES, Malformed

MOST_UNCONFIRMED_BYTES = 8 << 20
_OWED_BYTES = 32 << 10


class Ledger:
    """Every chunk of ours is kept until the relay confirms it: a resumed session sends the rest again.

    ``received``: bytes of theirs. ``unconfirmed``: bytes of ours that are kept, sent or not.
    """

    def __init__(self) -> None:
        self.received = 0
        self.unconfirmed = 0
        self._acknowledged = 0
        self._confirmed = 0
        self._sent: deque[memoryview] = deque()
        self._sent_bytes = 0
        self._unsent: deque[memoryview] = deque()

    @property
    def has_room(self) -> bool:
        return self.unconfirmed < MOST_UNCONFIRMED_BYTES

    @property
    def all_sent(self) -> bool:
        return not self._unsent

    def take(self, content: bytes) -> None:
        """Bytes of ours, to be sent after all others."""
        self.unconfirmed += len(content)
        view = memoryview(content)
        self._unsent.extend(view[at : at + MOST_BYTES] for at in range(0, len(view), MOST_BYTES))

    def next(self) -> memoryview | None:
        """The next chunk to send, which counts as sent from now on."""
        if not self._unsent:
            return None
        chunk = self._unsent.popleft()
        self._sent.append(chunk)
        self._sent_bytes += len(chunk)
        return chunk

    def confirm(self, received: int) -> None:
        """The relay has received so many bytes of ours since the session began. Raises ``Malformed``."""
        count = received - self._confirmed
        if count < 0:
            raise Malformed(f"it acknowledged {self._confirmed} bytes, and now only {received}")
        if count > self._sent_bytes:
            raise Malformed(f"it acknowledged {received} bytes, {self._confirmed + self._sent_bytes} were sent")
        self._confirmed = received
        self._sent_bytes -= count
        self.unconfirmed -= count
        while count:
            chunk = self._sent.popleft()
            if len(chunk) > count:
                self._sent.appendleft(chunk[count:])
                break
            count -= len(chunk)

    def resume(self, received: int) -> None:
        """A new connection begins, and the relay has so many bytes of ours. Raises ``Malformed``."""
        self.confirm(received)
        self._unsent.extendleft(reversed(self._sent))
        self._sent.clear()
        self._sent_bytes = 0
        self._acknowledged = self.received  # the request to resume has said it

    def owes(self, *, idle: bool) -> bool:
        """Whether an acknowledgement is due: above 32 KiB, and of any byte when nothing else is going on."""
        return self.received - self._acknowledged > (0 if idle else _OWED_BYTES)

    def acknowledge(self) -> int:
        """The count to tell the relay."""
        self._acknowledged = self.received
        return self.received
