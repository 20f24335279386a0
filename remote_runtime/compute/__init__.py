"""Compute Engine: finds instances, starts, resumes, stops and suspends them, and explains why one cannot be reached.

Every function but ``has_price_list`` and ``open_tunnel`` is the one of the same name in ``handlers``, called in a
worker process of its own (``worker``): importing Google's client takes about 1 s and 110 MB. Beside what the function
raises itself, it raises
``DeadlinePassed``, ``Interrupted``, ``CloudError`` ``cloud-client-killed`` when the worker was killed twice, and
``RuntimeError`` with the worker's traceback when that has a bug.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from ..core.deadline import Deadline
from ..core.model import Instance
from . import worker
from .worker_protocol import InstanceSummary, ProjectList, ReadyOptions

__all__ = [
    "InstanceSummary",
    "ProjectList",
    "ReadyOptions",
    "check_creation",
    "create",
    "delete_old",
    "delete_resources",
    "diagnose",
    "find",
    "find_by_label",
    "find_created",
    "grant_access",
    "has_price_list",
    "instance_price",
    "list_instances",
    "list_machine_types",
    "list_projects",
    "missing_permissions",
    "move",
    "open_tunnel",
    "plan_creation",
    "plan_move",
    "reload",
    "restore_status",
    "revoke_access",
    "set_status",
    "update_prices",
]

IN_THIS_PROCESS = ("has_price_list", "open_tunnel")

if TYPE_CHECKING:
    from .handlers import (
        check_creation,
        create,
        delete_old,
        delete_resources,
        diagnose,
        find,
        find_by_label,
        find_created,
        grant_access,
        instance_price,
        list_instances,
        list_machine_types,
        list_projects,
        missing_permissions,
        move,
        plan_creation,
        plan_move,
        reload,
        restore_status,
        revoke_access,
        set_status,
        update_prices,
    )
    from .iap.tunnel import IapTunnel
else:
    # Without importing ``handlers``, which takes 0.1 s.
    globals().update(
        {name: partial(worker.call, name) for name in __all__ if name not in (*globals(), *IN_THIS_PROCESS)}
    )


def has_price_list(environ: Mapping[str, str]) -> bool:
    """Whether Google's price list can be read; not without credentials, unless an emulator has one."""
    from .client import gcloud_config

    return gcloud_config.has_price_list(environ)


def open_tunnel(instance: Instance, *, environ: Mapping[str, str], deadline: Deadline) -> IapTunnel:
    """A connection to ``instance.port`` through Identity-Aware Proxy, in this process and without Google's client.
    ``environ``: credentials, proxies, ``REMOTE_RUNTIME_IAP_URL``.

    Raises ``SshError``: ``iap-refused``, ``iap-backend-unreachable``, ``iap-unreachable``; ``CloudError``
    ``no-credentials``; ``Interrupted``.
    """
    from .iap import tunnel

    return tunnel.open_tunnel(instance, environ=environ, deadline=deadline)
