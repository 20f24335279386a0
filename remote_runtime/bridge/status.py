"""``/api/remote-runtime``: versions of the bridge and the server, kernels, terminals, requests and WebSockets.

``sockets`` and ``clients`` count those who are there; ``detached``: streams whose clients are away; ``last_heard``:
when a client last sent anything on a stream, remote-runtime's own checks left out.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from typing import Any, Dict, List, Optional

from tornado.web import RequestHandler, authenticated

from . import __version__
from .origins import Origins
from .outputs.recorder import OutputRecorder
from .request_stats import RequestStats
from .server_compat import kernel_paths, maybe_await
from .streams.presence import is_attached
from .streams.server import StreamServer


class StatusHandler(RequestHandler):
    """Mixed with the server's own API handler, which authenticates."""

    # Monitoring does not count as use.
    _track_activity = False

    def initialize(
        self,
        origins: Origins,
        stats: RequestStats,
        streams: StreamServer,
        versions: Dict[str, str],
        recorder: Optional[OutputRecorder],
    ) -> None:
        self._origins = origins
        self._stats = stats
        self._streams = streams
        self._versions = versions
        self._recorder = recorder

    @authenticated
    async def get(self) -> None:
        answer = {
            "bridge": __version__,
            "origins": self._origins.listed(),
            "server": {**self._versions, "python": platform.python_version(), "pid": os.getpid()},
            "kernels": await _kernels(self.settings),
            "terminals": _terminals(self.settings.get("terminal_manager")),
            "idle": _idle(),
            "requests": dict(self._stats.requests),
            "refused": dict(self._stats.refused),
            "sockets": self._stats.sockets(is_attached),
            "detached": self._streams.detached_count(),
            "last_heard": _as_text(self._streams.last_heard),
            "outputs": None if self._recorder is None else self._recorder.summary(),
        }
        self.set_header("Cache-Control", "no-store")
        self.finish(answer)


async def _kernels(settings: Dict[str, Any]) -> List[Dict[str, Any]]:
    """``path``: of the notebook whose session has the kernel, None without one."""
    manager = settings.get("kernel_manager")
    models = await maybe_await(manager.list_kernels()) if manager is not None else []
    paths = await kernel_paths(settings) if models else {}
    return [
        {
            "id": model["id"],
            "name": model.get("name"),
            "path": paths.get(model["id"]),
            "state": model.get("execution_state"),
            "last_activity": _as_text(model.get("last_activity")),
        }
        for model in models
    ]


def _terminals(manager: Any) -> List[Dict[str, Any]]:
    """``clients``: the number of open WebSockets whose clients are there; see terminado."""
    return [
        {
            "name": name,
            "clients": sum(is_attached(client.request) for client in getattr(terminal, "clients", ())),
            "last_activity": _as_text(getattr(terminal, "last_activity", None)),
        }
        for name, terminal in dict(getattr(manager, "terminals", None) or {}).items()
    ]


def _idle() -> Any:
    """The idle watchdog's last report, ``age_s`` old, from the folder of the program that runs the server; None without
    a watchdog."""
    try:
        with open(os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "idle.json"), encoding="utf-8") as handle:
            idle = json.load(handle)
        return {**idle, "age_s": max(0.0, time.time() - idle["at"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _as_text(moment: Any) -> Any:
    return moment.isoformat() if hasattr(moment, "isoformat") else moment
