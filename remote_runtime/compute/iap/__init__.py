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
    from .tunnel import Passage as Passage


def open_passage(instance: Instance, *, environ: Mapping[str, str], deadline: Deadline) -> Passage:
    """A connection to ``instance.port`` of the instance. ``environ``: credentials, proxies, ``REMOTE_RUNTIME_IAP_URL``.

    Raises ``SshError``: ``iap-refused``, ``iap-backend-unreachable``, ``iap-unreachable``; ``CloudError``
    ``no-credentials``; ``Interrupted``.
    """
    from .tunnel import open_passage

    return open_passage(instance, environ=environ, deadline=deadline)
