"""Identity-Aware Proxy: a TCP connection to a port of an instance without an address, through Google's relay.

Protocol v4 of the relay, as gcloud 528 speaks it. One connection is one WebSocket, and survives its
loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...core.deadline import Deadline
from ...core.model import Instance

if TYPE_CHECKING:
    from .tunnel import IapTunnel as IapTunnel


def open_tunnel(instance: Instance, *, environ: Mapping[str, str], deadline: Deadline) -> IapTunnel:
    """A connection to ``instance.port`` of the instance. ``environ``: credentials, proxies, ``REMOTE_RUNTIME_IAP_URL``.

    Raises ``SshError``: ``iap-refused``, ``iap-backend-unreachable``, ``iap-unreachable``; ``CloudError``
    ``no-credentials``; ``Interrupted``.
    """
    from .tunnel import open_tunnel

    return open_tunnel(instance, environ=environ, deadline=deadline)
