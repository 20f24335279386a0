"""SSH: reach a machine, verify its host key, log in once, run commands there and reach its ports.

Importing this package is cheap: paramiko (0.1 s) is loaded by what needs it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.callbacks import Progress, Prompt
from ..core.deadline import Deadline
from ..core.model import Instance
from ..core.profile import SshSettings
from .auth.key_files import parse_public_key
from .auth.keys import Keys
from .connectors import Connector, NoVersionReceived
from .files.host_aliases import host_aliases, is_resolvable
from .files.known_hosts import known_instances, pinned_keys, unpin
from .files.paths import local_username
from .files.ssh_config import resolve

if TYPE_CHECKING:
    from .session import Session as Session
    from .sshtunnel_forwarder import SshtunnelForwarder as SshtunnelForwarder

__all__ = [
    "Connector",
    "Keys",
    "NoVersionReceived",
    "connect",
    "host_aliases",
    "is_resolvable",
    "known_instances",
    "local_username",
    "open_sshtunnel",
    "pinned_keys",
    "resolve",
    "unpin",
]


def connect(
    instance: Instance,
    settings: SshSettings,
    *,
    pins: Path,
    prompt: Prompt,
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
    keys: Keys | None = None,
    accepted_keys: Sequence[str] = (),
    key_just_added: bool = False,
    connector: Connector | None = None,
    respond_within_s: float | None = None,
    keep_trying_s: float | None = None,
    reconnect: bool = False,
) -> Session:
    """Enter the machine: one login, its host key verified first.

    ``pins``: our known_hosts file, made when first needed. ``keys``: what was unlocked before, for a reconnect
    without a question. A machine that we started (``started_from``) is waited for until the deadline; ``ssh-refused``
    and a refused connection of others is tried three times. ``wanted``: ``TYPE BASE64`` of the keys that the machine is
    known to accept, which are offered first. ``key_just_added``: only those are offered, again and again until the
    deadline, because the machine learns of them late; ``keep_trying_s``: no new try later than that. ``reach``:
    connects to its port where an ordinary connection does not. ``answers_within_s``: how long its port may stay
    silent, None for until the deadline; who has answered may take longer to let us in. ``reconnect``: one try of many,
    at which nobody waits: neither a silent port nor a silent agent is waited for to the deadline.

    Raises ``SshError`` (every code of it), ``Interrupted``, and what ``reach`` raises.
    """
    with _without_invoke():
        from .open_session import ConnectOptions, connect_with_retries

    accepted = tuple(parse_public_key(line) for line in accepted_keys)
    respond_by = deadline if respond_within_s is None else deadline.within(respond_within_s)
    options = ConnectOptions(
        pins, keys or Keys(), prompt, progress, environ, accepted, connector, respond_by, reconnect
    )
    return connect_with_retries(
        instance, settings, options, deadline, key_just_added=key_just_added, keep_trying_s=keep_trying_s
    )


@contextlib.contextmanager
def _without_invoke() -> Iterator[None]:
    """paramiko imports ``invoke`` for ``Match exec`` of ~/.ssh/config, which it is never asked to run here: half of the
    time that its own import takes."""
    absent = "invoke" not in sys.modules
    if absent:
        sys.modules["invoke"] = None  # type: ignore[assignment]  # documented: such an import fails at once
    try:
        yield
    finally:
        if absent:
            sys.modules.pop("invoke", None)  # two may enter at once


def open_sshtunnel(
    instance: Instance,
    settings: SshSettings,
    *,
    session: object,
    remote_port: int,
    remote_host: str = "127.0.0.1",
    keys: Keys,
    progress: Progress,
    deadline: Deadline,
    connector: Connector | None = None,
) -> SshtunnelForwarder:
    """A forward through sshtunnel: a second login to the machine of ``session`` (what ``connect`` returned), with the
    key that it accepted and the host key that was verified; ``keys`` must stay open while it uses the agent.

    Raises ``SshError``, ``Interrupted``.
    """
    from .session import Session
    from .sshtunnel_forwarder import open_tunnel

    if not isinstance(session, Session):
        raise TypeError(f"{session!r} is not an SSH session")
    return open_tunnel(
        instance,
        settings,
        session,
        remote_host=remote_host,
        remote_port=remote_port,
        progress=progress,
        deadline=deadline,
        connector=connector,
    )
