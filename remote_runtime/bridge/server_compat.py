"""Differences between the Jupyter servers that load the bridge: jupyter_server 1 and 2, notebook 6."""

from __future__ import annotations

import inspect
from typing import Any, Dict, Mapping, Type

from tornado.httputil import HTTPServerRequest
from tornado.web import Application, HTTPError, RequestHandler

# Settings, read when a WebSocket is opened: pings of Jupyter's own WebSockets (WebSocketMixin), and of tornado's. With
# pings a server closes each WebSocket whose client is away for longer than two or three intervals.
WITHOUT_PINGS = {"ws_ping_interval": 0, "websocket_ping_interval": 0}


def handler_bases(server_app: Any) -> "tuple[Type[RequestHandler], Type[RequestHandler]]":
    """The server's own classes for pages and for its API, which check authentication, XSRF and host."""
    if _is_jupyter_server(server_app):
        from jupyter_server.base.handlers import APIHandler, JupyterHandler

        return JupyterHandler, APIHandler
    from notebook.base.handlers import APIHandler as ClassicAPIHandler
    from notebook.base.handlers import IPythonHandler

    return IPythonHandler, ClassicAPIHandler


def server_version(server_app: Any) -> Dict[str, str]:
    """``{"jupyter_server": VERSION}`` or ``{"notebook": VERSION}``."""
    if _is_jupyter_server(server_app):
        from jupyter_server import __version__

        return {"jupyter_server": __version__}
    from notebook import __version__ as classic_version

    return {"notebook": classic_version}


def server_token(settings: Mapping[str, Any]) -> str:
    """The current token, empty if there is none: the identity provider's since jupyter_server 2, else a setting."""
    provider = settings.get("identity_provider")
    return str(getattr(provider, "token", "") or settings.get("token") or "")


def set_server_token(server_app: Any, token: str) -> None:
    """Valid from the next request on; also the token that the server writes into its own file."""
    provider = getattr(server_app, "identity_provider", None)
    if provider is not None:
        provider.token = token
    else:
        server_app.token = token
    server_app.web_app.settings["token"] = token


def generated_token(server_app: Any) -> bool:
    """Whether the server generated the token itself, so that it must show it to the user who started it."""
    provider = getattr(server_app, "identity_provider", None)
    return bool(getattr(provider, "token_generated", False) or getattr(server_app, "_token_generated", False))


def open_to_unauthenticated(method: Any) -> Any:
    """Mark a handler's method as one that needs no authentication (required since jupyter_server 2.13)."""
    # With setattr, since the name would be mangled inside a class.
    setattr(method, "__allow_unauthenticated", True)
    return method


async def is_authenticated(page: Type[RequestHandler], application: Application, request: HTTPServerRequest) -> bool:
    """Whether the server accepts the request's credentials. ``page``: the server's class for pages."""
    handler: Any = page(application, request)
    provider = application.settings.get("identity_provider")
    try:
        user = await maybe_await(provider.get_user(handler)) if provider else handler.get_current_user()
    except HTTPError:
        return False
    return bool(user)


async def maybe_await(value: Any) -> Any:
    """The result of a method that is a coroutine in some versions and a plain function in others."""
    return await value if inspect.isawaitable(value) else value


async def kernel_paths(settings: Mapping[str, Any]) -> Dict[str, Any]:
    """Kernel → path of the notebook whose session has it."""
    manager = settings.get("session_manager")
    sessions = await maybe_await(manager.list_sessions()) if manager is not None else []
    return {each["kernel"]["id"]: each.get("path") for each in sessions if each and each.get("kernel")}


def _is_jupyter_server(server_app: Any) -> bool:
    return any(kind.__module__.partition(".")[0] == "jupyter_server" for kind in type(server_app).__mro__)
