"""A VM with an external address that may not answer from here: there first, and through Identity-Aware Proxy else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from .. import ssh
from ..core.callbacks import Progress
from ..core.deadline import Deadline
from ..core.errors import CloudError, RemoteRuntimeError, SshError
from ..core.model import Instance, Profile
from ..core.profile import GceTarget

EXTERNAL_TIMEOUT_S = 8.0
EXTERNAL_BOOT_TIMEOUT_S = 30.0
T = TypeVar("T")


class ExternalAndIapFailed(SshError):
    """``ssh-unreachable``: what went wrong at the address, and then ``through_iap``."""

    def __init__(self, error: SshError, through_iap: RemoteRuntimeError) -> None:
        why = f"{error.why}; through Identity-Aware Proxy: {through_iap.what} ({through_iap.why})"
        super().__init__(error.code, error.what, why, through_iap.hint or error.hint)
        self.through_iap = through_iap


def may_fall_back_to_iap(profile: Profile, instance: Instance) -> bool:
    return isinstance(profile.target, GceTarget) and profile.target.connect == "auto" and instance.via == "external"


def connect(
    connect_to: Callable[[Instance, float | None], T], instance: Instance, progress: Progress, deadline: Deadline
) -> T:
    """At its external address, and through IAP if nothing answers there in a part of the time.

    ``by``: is told within how many seconds the instance has to answer, None for all of ``deadline``; once it has
    answered, entering it may take all of it, and so may a late greeting where IAP does not lead there. Raises
    ``NeitherWay`` when IAP does not; else what went wrong on the way that did, or that alone was tried.
    """
    first_s = EXTERNAL_BOOT_TIMEOUT_S if instance.started_from else EXTERNAL_TIMEOUT_S
    if deadline.remaining_s() < 1.5 * first_s:
        return connect_to(instance, None)
    try:
        return connect_to(instance, first_s)
    except SshError as error:
        if error.code != "ssh-unreachable":
            raise
        progress(f"{instance.where} does not answer: trying through Identity-Aware Proxy")
        other = replace(instance, via="iap", why_via=f"{instance.where} does not answer from here")
        try:
            return connect_to(other, None)
        except (SshError, CloudError) as second:
            if not second.code.startswith("iap-") and second.code != "no-credentials":
                raise  # it got through to the machine
            if isinstance(error, ssh.NoVersionReceived) and not deadline.passed():
                progress(f"Through Identity-Aware Proxy neither: waiting for {instance.where} to greet")
                return connect_to(instance, None)
            raise ExternalAndIapFailed(error, second) from second
