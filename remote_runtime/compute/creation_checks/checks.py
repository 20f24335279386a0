"""Runs the checks, at once: each waits for Google's answers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ...core.errors import RemoteRuntimeError, from_code
from ...core.model import Finding
from .network_checks import check_egress, check_firewall, check_network
from .project_checks import check_apis, check_permissions, check_quota
from .request import CreationRequest

Check = Callable[[CreationRequest], Finding]
CHECKS: dict[str, Check] = {
    "apis": check_apis,
    "creation-permissions": check_permissions,
    "quota": check_quota,
    "network": check_network,
    "creation-firewall": check_firewall,
    "egress": check_egress,
}
# Without these a VM is not created: it would cost money, and `up` could not use it. What the others report, Compute
# Engine reports when the VM is created, and knows better: conditions of roles, quotas that it does not list.
NEEDED = ("apis", "network", "creation-firewall", "egress")


def run_checks(request: CreationRequest) -> tuple[Finding, ...]:
    """A finding for each check; ``skipped`` with the reason where the credentials cannot read it. Raises
    ``Interrupted``."""
    with ThreadPoolExecutor(len(CHECKS)) as threads:
        return tuple(threads.map(lambda name: _run(name, request), CHECKS))


def _run(name: str, request: CreationRequest) -> Finding:
    try:
        return CHECKS[name](request)
    except RemoteRuntimeError as error:
        if error.code == "interrupted":
            raise
        return Finding(name, "skipped", "not checked", str(error))


def raise_first_failure(findings: tuple[Finding, ...]) -> None:
    """Raises the error of the first check of ``NEEDED`` that failed."""
    for finding in findings:
        if finding.check in NEEDED and finding.verdict == "failed":
            raise from_code(finding.code, finding.what, finding.why, finding.hint)


def notes_of(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """What a person has to know before the VM is created, beside the failures of ``raise_first_failure``."""
    return tuple(
        f"{finding.what}: {finding.why}" if finding.why else finding.what
        for finding in findings
        if finding.verdict in ("failed", "warning") and finding.check not in NEEDED
    )
