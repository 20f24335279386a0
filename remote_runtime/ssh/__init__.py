"""SSH: reach a machine, verify its host key, log in once, run commands there and reach its ports.

Importing this package is cheap: paramiko (0.1 s) is loaded by what needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.callbacks import Progress
from ..core.deadline import Deadline
from .auth.identity_files import accepted_files, named_files
from .auth.keys import Keys
from .connect_request import ConnectRequest
from .connectors import Connector, NoVersionReceived
from .files.host_aliases import host_aliases, is_resolvable
from .files.known_hosts import known_instances, pinned_keys, unpin
from .files.paths import local_username
from .files.ssh_config import resolve

if TYPE_CHECKING:
    from .open_port import SshPort as SshPort
    from .session import Session as Session
    from .sshtunnel_forwarder import SshtunnelForwarder as SshtunnelForwarder

__all__ = [
    "ConnectRequest",
    "Connector",
    "Keys",
    "NoVersionReceived",
    "accepted_files",
    "connect",
    "host_aliases",
    "is_resolvable",
    "known_instances",
    "local_username",
    "named_files",
    "open_ssh_port",
    "open_sshtunnel",
    "pinned_keys",
    "resolve",
    "unpin",
]


def connect(request: ConnectRequest, *, key_just_added: bool = False, keep_trying_s: float | None = None) -> Session:
    """Verify the machine's host key and log in, once. A machine that was started (``started_from``) gets until the
    deadline to boot; a closed or refused connection to another one is tried three times. ``key_just_added``: only
    ``accepted_keys`` are offered, until the deadline, because the machine learns of them late; ``keep_trying_s``: no
    new attempt later than that.

    Raises ``SshError`` (every code of it), ``Interrupted``, and what the request's ``connector`` raises.
    """
    from .open_session import connect_with_retries

    return connect_with_retries(request, only_accepted=key_just_added, keep_trying_s=keep_trying_s)


def open_ssh_port(request: ConnectRequest) -> SshPort:
    """A connection to the machine's SSH port for another SSH client, without a login there; jump hosts are verified and
    logged in to. A closed or refused connection is tried three times. Its ``host_keys`` are what ``connect`` would
    accept; if none is known, a first connection verifies the host key.

    Raises as ``connect``, but ``no-usable-key`` and what else a login raises only at jump hosts.
    """
    from .open_port import open_ssh_port as open_port

    return open_port(request)


def open_sshtunnel(
    session: object, host: str, port: int, *, progress: Progress, deadline: Deadline
) -> SshtunnelForwarder:
    """A forward to ``host``:``port`` through sshtunnel: a second login to the machine of ``session`` (what ``connect``
    returned), with the key that it accepted and the host key that was verified. The keys of ``session`` must stay open
    while it uses the agent.

    Raises ``SshError``, ``Interrupted``.
    """
    from .session import Session
    from .sshtunnel_forwarder import open_tunnel

    if not isinstance(session, Session):
        raise TypeError(f"{session!r} is not an SSH session")
    return open_tunnel(session, host, port, progress=progress, deadline=deadline)
