"""On a message over the size limit, answer the pending requests first, then close with 1009.

tornado's own protocol closes the connection at such a message's header, and pending answers are lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Awaitable, Callable, Optional

from tornado.websocket import WebSocketProtocol, WebSocketProtocol13

# RFC 6455, 7.4.1.
MESSAGE_TOO_BIG = 1009
MAX_DRAIN_S = 10.0


class DrainingProtocol(WebSocketProtocol13):
    """``all_answered`` is awaited, for ``MAX_DRAIN_S`` at most, between a message that is too big and the close with
    1009. The message itself is not read, so that it uses no memory."""

    def __init__(self, plain: WebSocketProtocol13, all_answered: Callable[[], Awaitable[None]]) -> None:
        super().__init__(plain.handler, plain.mask_outgoing, plain.params)
        self._all_answered = all_answered
        self._why_too_big: Optional[str] = None

    def close(self, code: Optional[int] = None, reason: Optional[str] = None) -> None:
        if code == MESSAGE_TOO_BIG:
            self._why_too_big = reason
        else:
            super().close(code, reason)

    # tornado (6.1 to 6.6) calls these two for a frame that arrives and for the end at once: it closes, then aborts.

    async def _receive_frame(self) -> None:
        await super()._receive_frame()
        if self._why_too_big is not None:
            reason, self._why_too_big = self._why_too_big, None
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.ensure_future(self._all_answered()), MAX_DRAIN_S)
            super().close(MESSAGE_TOO_BIG, reason)
            super()._abort()

    def _abort(self) -> None:
        if self._why_too_big is None:
            super()._abort()


def drain_before_close(plain: Optional[WebSocketProtocol], all_answered: Callable[[], Awaitable[None]]) -> Any:
    """``plain`` as a ``DrainingProtocol``; another protocol is returned unchanged."""
    return DrainingProtocol(plain, all_answered) if type(plain) is WebSocketProtocol13 else plain
