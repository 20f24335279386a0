"""``/api/colab/…``: the API that Colab's page expects beside Jupyter's, with the answers of Colab's own server."""

from __future__ import annotations

import json
from typing import Any, Awaitable, Callable, Dict, Mapping

from tornado.web import RequestHandler, authenticated

from .resources import ResourceMonitor

# Prevents another page from including the answer as a script; Colab's page strips it.
_UNSCRIPTABLE = ")]}'\n"

Answer = Callable[[], Awaitable[Dict[str, Any]]]


def answers(resources: ResourceMonitor, settings: Mapping[str, Any]) -> Dict[str, Answer]:
    """The answer functions by the last part of the path."""

    async def build_info() -> Dict[str, Any]:
        return {"release_tag": None}

    async def drive() -> Dict[str, Any]:
        return {"dfs": []}

    async def machine() -> Dict[str, Any]:
        return await resources.read(settings.get("kernel_manager"))

    return {"build-info": build_info, "drive": drive, "resources": machine}


class ColabHandler(RequestHandler):
    """Mixed with the server's own API handler, which authenticates."""

    # The page polls this for its resource monitor, which does not count as use of the server.
    _track_activity = False

    def initialize(self, answer: Answer) -> None:
        self._answer = answer

    @authenticated
    async def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.finish(_UNSCRIPTABLE + json.dumps(await self._answer()))
