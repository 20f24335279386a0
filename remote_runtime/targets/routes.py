"""The routes to an instance with an external address: that address, and IAP where it does not respond."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from .. import ssh
from ..core.callbacks import Progress
from ..core.deadline import Deadline
from ..core.errors import CloudError, RemoteRuntimeError, SshError
from ..core.model import Instance

EXTERNAL_TIMEOUT_S = 8.0
EXTERNAL_BOOT_TIMEOUT_S = 30.0

T = TypeVar("T")


class ExternalAndIapFailed(SshError):
    """``ssh-unreachable``: the error at the external address, and then the one ``through_iap``."""

    def __init__(self, error: SshError, through_iap: RemoteRuntimeError) -> None:
        why = f"{error.why}; through Identity-Aware Proxy: {through_iap.what} ({through_iap.why})"
        super().__init__(error.code, error.what, why, through_iap.hint or error.hint)
        self.through_iap = through_iap


def connect_external_or_iap(
    connect_to: Callable[[Instance, float | None], T], instance: Instance, progress: Progress, deadline: Deadline
) -> T:
    """Connect to the external address; through IAP if it does not respond within 8 s, or 30 s while it boots.

    ``connect_to(instance, respond_within_s)``: ``respond_within_s`` limits the wait for the first response, None for
    the whole ``deadline``. Where IAP is not open, and the address accepted the connection, its SSH server is waited
    for until the deadline. Raises ``ExternalAndIapFailed`` if neither works; else the error of the route that got
    through, or that alone was tried.
    """
    first_s = EXTERNAL_BOOT_TIMEOUT_S if instance.started_from else EXTERNAL_TIMEOUT_S
    if deadline.remaining_s() < 1.5 * first_s:
        return connect_to(instance, None)
    try:
        return connect_to(instance, first_s)
    except SshError as error:
        if error.code != "ssh-unreachable":
            raise
        progress(f"{instance.where} does not respond; trying Identity-Aware Proxy")
        through_iap = replace(instance, via="iap", why_via=f"{instance.where} does not respond from here")
        try:
            return connect_to(through_iap, None)
        except (SshError, CloudError) as second:
            if not second.code.startswith("iap-") and second.code != "no-credentials":
                raise  # it got through to the machine
            if isinstance(error, ssh.NoVersionReceived) and not deadline.passed():
                progress(f"Identity-Aware Proxy failed too; waiting for the SSH server at {instance.where}")
                return connect_to(instance, None)
            raise ExternalAndIapFailed(error, second) from second
