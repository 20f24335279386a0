"""The local endpoint of a runtime that is ready."""

from __future__ import annotations

import functools

from ..jupyter import health
from ..state import store
from ..state.ipc import uncounted_connector
from .context import CommandContext
from .status import url as url_of


def endpoint_of(name: str, context: CommandContext, *, is_client: bool = False) -> health.Endpoint:
    """``is_client``: its connections count as a client's, and wait while there is no SSH connection. Raises
    ``LocalError`` ``not-up``, ``UsageError`` ``profile-not-found``."""
    url_of(name, context.state, context.environ)
    runtime = store.load(context.state, name)
    if runtime is None or runtime.server is None or runtime.local_port is None:
        raise ValueError(f"{name} was ready a moment ago")
    server = runtime.server
    connect = functools.partial(uncounted_connector(name, context.state), runtime.local_port)
    attached = server if server.attached else None
    return health.Endpoint(runtime.local_port, server.token, (), None if is_client else connect, attached=attached)
