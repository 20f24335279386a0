"""A connection to a machine's SSH server whose host key is verified, before the login."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from ..core.errors import SshError
from .auth.certificates import presented_certificate
from .auth.host_keys import HostKeyPolicy
from .connect_request import ConnectRequest
from .files.known_hosts import HostKey
from .files.paths import home_dir
from .negotiate import negotiate
from .open_connection import open_connection
from .penalties import CONNECTION_PENALTY_S
from .session import Session
from .transport.transport import Transport


def open_verified(
    request: ConnectRequest, undo: ExitStack, connect_jump: Callable[[ConnectRequest], Session]
) -> tuple[Transport, HostKey, str]:
    """The connection, the host key, and how it is known (``HostKeyPolicy.check``). ``undo`` closes it.

    Raises as ``open_connection`` and ``HostKeyPolicy.check``."""
    instance, settings, keys = request.instance, request.settings, request.keys
    address = (instance.address, instance.port)
    policy = HostKeyPolicy(instance, settings, pins=request.pins, home=home_dir(request.environ))
    key_types = policy.algorithms()
    connection = open_connection(request, undo, connect_jump)
    try:
        transport = Transport(connection.socket, key_types, connection.close_reason, settings.allowed_algorithms)
    except SshError:  # ~/.ssh/config allows none of the algorithms
        connection.socket.close()
        raise
    undo.callback(transport.close)
    negotiate(transport, connection, request)
    keys.penalties.note_version(address, transport.remote_version)
    host_key = HostKey(transport.host_key.get_name(), transport.host_key.get_base64())
    try:
        return transport, host_key, policy.check(host_key, request.progress, presented_certificate(transport.host_key))
    except SshError:
        keys.penalties.add(address, CONNECTION_PENALTY_S)
        raise
