"""Installs the bridge in a running Jupyter server."""

from __future__ import annotations

import logging
import weakref
from typing import Any, Optional, Type, TypeVar

from tornado.web import RequestHandler

from . import __version__, server_compat
from .colab_api import ColabHandler, answers
from .cors import cors_transform
from .http_over_websocket import DiagnoseSocket, TunnelSocket
from .identity import IdentityHandler
from .log_redaction import RedactingFilter, install
from .origins import Origins
from .outputs import kernel_function
from .outputs.budget import OutputBudget, OutputLimits
from .outputs.handler import OutputsHandler
from .outputs.recorder import OutputRecorder
from .own_requests import CheckFilter
from .request_stats import RequestStats
from .resources import ResourceMonitor
from .routing import install_router
from .status import StatusHandler
from .streams.handler import StreamsHandler
from .streams.protocol.send_buffer import SpoolBudget
from .streams.server import StreamServer, StreamTimeouts
from .token import TokenHandler
from .tornado_websocket import watch_websockets

_LOADED = "remote_runtime_bridge"
LAUNCHED = "remote_runtime_launched"  # set by the launcher in its server's ``tornado_settings``
_LOGGERS = ("tornado.access", "tornado.application", "tornado.general", "asyncio", "py.warnings")
Handler = TypeVar("Handler", bound=RequestHandler)


def load(server_app: Any) -> None:
    """Install everything once in a server, even if the extension is enabled several times or under two names."""
    application = server_app.web_app
    settings = application.settings
    if _LOADED in settings:
        return
    settings[_LOADED] = __version__
    _filter_logs(server_app)
    origins, stats = Origins(settings), RequestStats()
    page, api = server_compat.handler_bases(server_app)
    base = settings.get("base_url", "/").rstrip("/")
    colab, colab_answers = _with(ColabHandler, api), answers(ResourceMonitor(), settings)
    socket = {"origins": origins, "max_body_bytes": int(server_app.max_body_size)}
    streams, versions = _stream_server(server_app), server_compat.server_version(server_app)
    recorder = _recorder(server_app)
    status = {"origins": origins, "stats": stats, "streams": streams, "versions": versions, "recorder": recorder}
    application.add_handlers(
        ".*$",
        [
            (f"{base}/http_over_websocket", _with(TunnelSocket, page), socket),
            (f"{base}/http_over_websocket/diagnose", _with(DiagnoseSocket, page), socket),
            (f"{base}/api/remote-runtime/identity", IdentityHandler),
            (f"{base}/api/remote-runtime", _with(StatusHandler, api), status),
            (f"{base}/api/remote-runtime/outputs", _with(OutputsHandler, api), {"recorder": recorder}),
            (f"{base}/api/remote-runtime/streams", StreamsHandler, {"streams": streams}),
            (f"{base}/api/remote-runtime/token", _with(TokenHandler, api), {"server_app": server_app}),
            *((f"{base}/api/colab/{name}", colab, {"answer": answer}) for name, answer in colab_answers.items()),
        ],
    )
    application.add_transform(cors_transform(origins))
    install_router(application, origins, stats, f"{base}/http_over_websocket/", page)
    watch_websockets(settings, [stats.add_socket, *([recorder.watch] if recorder else [])])
    server_app.log.info("remote-runtime bridge %s for %s", __version__, ", ".join(origins.listed()))


def _stream_server(server_app: Any) -> StreamServer:
    settings, section = server_app.web_app.settings, _section(server_app)
    names = {"spool_memory_bytes": "memory_bytes", "spool_bytes": "disk_bytes"}
    names.update((name, name) for name in ("min_free_bytes", "min_free_share"))
    limits = {name: section[key] for key, name in names.items() if key in section}
    budget = SpoolBudget(directory=server_app.runtime_dir, **limits)

    def token() -> str:
        return server_compat.server_token(settings)

    def on_session() -> None:
        if settings.get(LAUNCHED):  # the pings of another server are its owner's to choose
            settings.update(server_compat.WITHOUT_PINGS)

    return StreamServer(lambda: server_app.http_server, token, budget, StreamTimeouts(), on_session)


def _recorder(server_app: Any) -> Optional[OutputRecorder]:
    """None if the server's configuration names no directory for recorded outputs."""
    section = _section(server_app)
    if not section.get("outputs_dir"):
        return None
    budget = OutputBudget(section["outputs_dir"], OutputLimits.configured(section))
    kernel_function.install(server_app)
    return OutputRecorder(server_app.kernel_manager, budget)


def _section(server_app: Any) -> Any:
    """Of the server's configuration, for the bridge."""
    return server_app.config.get("RemoteRuntimeBridge", {})


def _with(ours: Type[Handler], base: Type[RequestHandler]) -> Type[Handler]:
    """The bridge's handler over the server's own class for authentication, host and XSRF checks."""
    return type(ours.__name__, (ours, base), {})


def _filter_logs(server_app: Any) -> None:
    """Hide tokens, and drop what health checks log."""
    server_ref = weakref.ref(server_app)

    def token() -> str:
        server = server_ref()
        return "" if server is None else server_compat.server_token(server.web_app.settings)

    def shows_banner() -> bool:
        server = server_ref()
        return server is not None and server_compat.generated_token(server)

    loggers = [server_app.log, logging.getLogger(), *(logging.getLogger(name) for name in _LOGGERS)]
    for each in (RedactingFilter(token, shows_banner), CheckFilter()):
        install([logger for logger in loggers if isinstance(logger, logging.Logger)], each, server_app)
