"""Compute Engine: finding an instance, starting, resuming, stopping and suspending it, and why it cannot be entered.

Google's client costs about 1 s and 110 MB to import (``library``). The caller never pays that: each function here runs
a short child process (``python -m remote_runtime.compute``), and this module and ``child`` need the standard library
only. ``open_passage`` is of ``iap`` and works in this process, without that client.

Every other function raises ``CloudError``, ``DeadlinePassed`` or ``Interrupted``, and ``RuntimeError`` with the child's
traceback when the child has a bug. ``environ`` is the child's environment: Google's own variables are honoured
(``settings``, ``credentials``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Literal

from ..core.access import AccessGrant, InstalledKey, LoginIdentity
from ..core.callbacks import Progress
from ..core.deadline import Deadline
from ..core.errors import RemoteRuntimeError
from ..core.model import Instance
from ..core.profile import GceTarget
from . import worker, worker_protocol
from .iap import open_tunnel
from .worker_protocol import InstanceSummary, ProjectList

__all__ = [
    "InstanceSummary",
    "ProjectList",
    "diagnose",
    "find",
    "grant_access",
    "list_instances",
    "list_projects",
    "missing_permissions",
    "open_tunnel",
    "reload",
    "restore_status",
    "revoke_access",
    "set_status",
]

Action = Literal["start", "resume", "stop", "suspend"]
MayStart = Literal["always", "preempted", "never"]
Connect = Literal["auto", "external", "internal", "iap"]


def find(
    target: GceTarget,
    *,
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
    before_start: Callable[[Instance], None],
    host_keys_within_s: float = 120.0,
    in_background: bool = False,
    may_start: MayStart = "always",
    known_hosts: Collection[str] = (),
    login: LoginIdentity | None = None,
) -> Instance:
    """The running instance that ``target`` describes, with its address and the host keys Google knows.

    It is started or resumed when it is not running and ``target.start`` allows it. ``started`` is given the instance,
    with ``started_from``, before that is asked for: from then on ``put_back`` knows what to undo.
    ``host_keys_within_s``: how long to wait for host keys that a machine which just started has not published yet;
    names in ``known`` (``compute.<id>``) are not waited for. ``who``: whose ``access`` is looked up.
    ``may_start``, if the profile allows it at all: ``preempted`` starts a Spot VM that Compute Engine took back, and
    none that a person stopped. ``in_background``: nobody waits for it now, so what else runs here goes first.
    """
    order = {
        "do": "find",
        "target": worker_protocol.from_target(target),
        "host_keys_within_s": host_keys_within_s,
        "in_background": in_background,
        "may_start": may_start,
        "known": sorted(known_hosts),
        "who": asdict(login) if login else None,
    }
    begun: list[Instance] = []

    def note(instance: Instance) -> None:
        before_start(instance)
        begun.append(instance)

    found = worker_protocol.to_instance(
        worker.call(order, progress=progress, deadline=deadline, environ=environ, started=note)
    )
    # Also where the child that started it was killed, and another one found it running.
    return replace(found, started_from=begun[-1].started_from) if begun else found


def reload(
    instance: Instance, *, progress: Progress, deadline: Deadline, environ: Mapping[str, str], connect: Connect = "auto"
) -> Instance:
    """``instance`` with the status and the address it has now, and the host keys published now.

    The address is empty when it has none of the wanted kind. An instance that was deleted, or replaced by another of
    the same name, is ``instance-not-found``.
    """
    order = {"do": "read", "instance": worker_protocol.from_instance(instance), "connect": connect}
    return worker_protocol.to_instance(worker.call(order, progress=progress, deadline=deadline, environ=environ))


def grant_access(
    instance: Instance,
    login: LoginIdentity,
    key: str,
    *,
    lifetime_s: float,
    previous_keys: Sequence[InstalledKey],
    renew: bool,
    before_write: Callable[[InstalledKey], None],
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
) -> AccessGrant:
    """Lets ``key`` (``TYPE BASE64``) into ``instance`` for ``lifetime_s``: by its metadata, or by OS Login where that
    is on. ``adding`` is told before anything is written: from then on ``withdraw`` knows what to take away.

    Nothing is written while the key is let in; with ``fresh``, while it is for half of ``lifetime_s`` at least.
    ``former``: entries of ours that the new one replaces. Raises `key-not-added` among others.
    """
    order = {
        "do": "admit",
        "instance": worker_protocol.from_instance(instance),
        "who": asdict(login),
        "key": key,
        "lifetime_s": lifetime_s,
        "former": [asdict(each) for each in previous_keys],
        "fresh": renew,
    }
    begun: list[InstalledKey] = []

    def note(key: InstalledKey) -> None:
        before_write(key)
        begun.append(key)

    grant = worker_protocol.to_admission(
        worker.call(order, progress=progress, deadline=deadline, environ=environ, adding=note)
    )
    # Also where the child that added it was killed, and another one found it there.
    return replace(grant, added=grant.added or (begun[-1] if begun else None))


def revoke_access(
    keys: Sequence[InstalledKey], *, progress: Progress, deadline: Deadline, environ: Mapping[str, str]
) -> None:
    """Takes away what ``admit`` added, and what has expired of the same keys. Everything else there stays."""
    order = {"do": "withdraw", "added": [asdict(each) for each in keys]}
    worker.call(order, progress=progress, deadline=deadline, environ=environ)


def set_status(
    instance: Instance, action: Action, *, progress: Progress, deadline: Deadline, environ: Mapping[str, str]
) -> str:
    """Carries out ``action`` and answers with the status reached; nothing is done when it is there already.

    ``stop`` and ``suspend`` answer ``STOPPING`` or ``SUSPENDING`` when the deadline passes on the way.
    """
    order = {"do": "change", "instance": worker_protocol.from_instance(instance), "action": action}
    return worker_protocol.to_status(worker.call(order, progress=progress, deadline=deadline, environ=environ))


def diagnose(
    instance: Instance,
    error: RemoteRuntimeError,
    *,
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
    connect: Connect = "external",
    through_iap: RemoteRuntimeError | None = None,
) -> tuple[RemoteRuntimeError, ...]:
    """What explains that ``instance`` could not be entered (``error``), the most certain first; empty when Compute
    Engine shows nothing wrong. ``connect``: the way that was taken; ``through_iap``: how IAP failed, where it was tried
    after that.

    The causes are values, each with code, what, why and hint: `instance-stopped`, `instance-not-found`,
    `firewall-blocked`, `machine-booting`, `machine-not-booted`, `disk-full`, `os-login-required`, `permission-denied`;
    and the code of ``through_iap`` where that way is the one that the firewall leaves open.
    """
    order = {
        "do": "diagnose",
        "instance": worker_protocol.from_instance(instance),
        "code": error.code,
        "connect": connect,
        "through_iap": worker_protocol.from_errors([through_iap] if through_iap else []),
    }
    return worker_protocol.to_errors(worker.call(order, progress=progress, deadline=deadline, environ=environ))


def missing_permissions(
    target: GceTarget, permissions: Sequence[str], *, progress: Progress, deadline: Deadline, environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Those of ``wanted`` that the credentials do not have on the instance that ``target`` means."""
    order = {"do": "permissions", "target": worker_protocol.from_target(target), "wanted": list(permissions)}
    return tuple(str(each) for each in worker.call(order, progress=progress, deadline=deadline, environ=environ))


def list_projects(*, progress: Progress, deadline: Deadline, environ: Mapping[str, str]) -> ProjectList:
    """The projects that the credentials see, as far as they may be listed, and the one that is used by default."""
    return worker_protocol.to_projects(
        worker.call({"do": "projects"}, progress=progress, deadline=deadline, environ=environ)
    )


def list_instances(
    project: str, *, progress: Progress, deadline: Deadline, environ: Mapping[str, str]
) -> list[InstanceSummary]:
    """The instances of the project, to choose one."""
    order = {"do": "candidates", "project": project}
    return worker_protocol.to_candidates(worker.call(order, progress=progress, deadline=deadline, environ=environ))


def restore_status(instance: Instance, *, progress: Progress, deadline: Deadline, environ: Mapping[str, str]) -> str:
    """Stops or suspends an instance that we started, as ``started_from`` says; answers with its status.

    Waits until the instance is on its way down, not until it is there. Does nothing when we did not start it.
    """
    if instance.started_from is None:
        return instance.status
    order = {"do": "put-back", "instance": worker_protocol.from_instance(instance)}
    return worker_protocol.to_status(worker.call(order, progress=progress, deadline=deadline, environ=environ))
