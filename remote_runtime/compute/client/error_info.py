"""Reads Google's google.rpc.ErrorInfo (https://google.aip.dev/193) and explains refused requests by its reasons
(https://cloud.google.com/apis/docs/reference/rest/error-reasons)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...core.errors import CloudError
from ...core.fast_dataclass import fast_dataclass
from ...core.sanitize import clean_line, redact
from ...core.shell_command import quote_word, shell_command

MAX_WHY_CHARS = 400
ACT_AS = "iam.serviceAccounts.actAs"
ROLES = {
    ACT_AS: "roles/iam.serviceAccountUser",
    "compute.instances.osLogin": "roles/compute.osLogin",
    "iap.tunnelInstances.accessViaIAP": "roles/iap.tunnelResourceAccessor",
}
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
_PERMISSION = re.compile(
    r"'?\b([a-z]+(?:\.[A-Za-z]+){2,3})\b'? permission|[Pp]ermission '?([a-z]+(?:\.[A-Za-z]+){2,3})\b"
)
_PROJECT_ID = r"((?:[a-z0-9.-]+:)?[a-z0-9][a-z0-9-]{1,61})"
_CONSUMER = re.compile(rf"(?:projects/)?{_PROJECT_ID}")
_OF_RESOURCE = re.compile(rf"\bprojects/{_PROJECT_ID}\b")
_OF_DISABLED_API = re.compile(rf"\bin project {_PROJECT_ID} before\b")
_SERVICE = re.compile(r"[a-z][a-z0-9-]{0,62}\.googleapis\.com")
_POLICY_REASONS = ("SECURITY_POLICY_VIOLATED", "LOCATION_POLICY_VIOLATED", "LOCATION_ORG_POLICY_VIOLATED",
             "ORG_RESTRICTION_VIOLATION", "ORG_RESTRICTION_HEADER_INVALID")  # fmt: skip


@fast_dataclass(frozen=True)
class ErrorDetails:
    """What a refusal says: its ``message``, ``reasons``, ``service`` (``compute.googleapis.com``), ``consumer`` (id or
    number of the project that the request counts for), ``permission``, and ``owner``, the project of the resource.
    Fields that it does not name are empty."""

    message: str
    reasons: frozenset[str] = frozenset()
    service: str = ""
    consumer: str = ""
    permission: str = ""
    owner: str = ""


def parse_error(message: str, errors: Iterable[Any] = (), details: Iterable[Any] = ()) -> ErrorDetails:
    """From the parts of an error in Google's JSON: ``message``, ``errors`` (the older form), ``details``."""
    words = clean_line(redact(message), MAX_WHY_CHARS)
    infos = [each for each in details if isinstance(each, Mapping) and each.get("@type") == _ERROR_INFO]
    old = [each for each in errors if isinstance(each, Mapping)]
    reasons = frozenset(str(each.get("reason") or "") for each in [*infos, *old]) - {""}
    named = dict(_metadata_items(infos))
    found = _PERMISSION.search(words)
    permission = named.get("permission", "") or (found.group(1) or found.group(2) if found else "")
    if "iam.serviceAccountUser" in words:  # changing a machine requires acting as its service account
        permission = ACT_AS
    service = _SERVICE.fullmatch(named.get("service", "")) or _SERVICE.search(words)
    consumer = _CONSUMER.fullmatch(named.get("consumer", "")) or _OF_DISABLED_API.search(words)
    owner = _OF_RESOURCE.search(named.get("resource", "")) or _OF_RESOURCE.search(words)
    return ErrorDetails(
        words,
        reasons,
        service.group() if service else "",
        consumer.group(1) if consumer else "",
        permission if re.fullmatch(r"[a-z]+(\.[A-Za-z]+){2,3}", permission) else "",
        owner.group(1) if owner else "",
    )


def refusal_error(
    details: ErrorDetails, doing: str, project: str, renew_hint: str, set_quota_project: str = ""
) -> CloudError | None:
    """The error for a refusal that is not caused by a missing role: a disabled API, the quota project, billing, a
    policy, a scope; None for any other. ``set_quota_project``: as in ``Identity``."""
    consumer = details.consumer or project
    cannot = f"Can't {doing}"
    words, reasons = details.message, details.reasons
    if "USER_PROJECT_DENIED" in reasons:
        what = f"{cannot}: no permission to use the quota project {consumer}"
        return CloudError("permission-denied", what, words, _quota_project_hint(consumer, project, set_quota_project))
    if reasons & {"SERVICE_DISABLED", "accessNotConfigured"}:
        service = details.service or "compute.googleapis.com"
        what = f"The API {service} is disabled in project {consumer}"
        enable = shell_command("gcloud", "services", "enable", service, f"--project={consumer}")
        return CloudError("permission-denied", what, words, f"Run {enable}")
    if "BILLING_DISABLED" in reasons or "billing to be enabled" in words:
        link = shell_command("gcloud", "billing", "projects", "link", consumer, "--billing-account=ACCOUNT_ID")
        return CloudError("permission-denied", f"Billing is disabled in project {consumer}", words, f"Run {link}")
    if reasons.intersection(_POLICY_REASONS) or "organization's policy" in words or "organization policy" in words:
        what = f"{cannot}: an organization policy forbids it"
        hint = "Send this message to the organization's administrator"
        return CloudError("permission-denied", what, words, hint)
    if reasons & {"CONSUMER_SUSPENDED", "CONSUMER_INVALID", "RESOURCE_PROJECT_INVALID"}:
        check = shell_command("gcloud", "projects", "describe", consumer)
        return CloudError("permission-denied", f"Can't use project {consumer}", words, f"Check its state: {check}")
    if "ACCESS_TOKEN_SCOPE_INSUFFICIENT" in reasons or "insufficient authentication scopes" in words:
        what = f"{cannot}: the credentials lack the scope cloud-platform"
        return CloudError("permission-denied", what, words, renew_hint)
    return None


def permission_denied_error(details: ErrorDetails, doing: str, project: str) -> CloudError:
    """``permission-denied`` with the permission that Google names, and a role that grants it."""
    what = f"No permission to {doing}" + (f": {details.permission} is missing" if details.permission else "")
    return CloudError("permission-denied", what, details.message, _grant_hint(details, project))


def _grant_hint(details: ErrorDetails, project: str) -> str:
    service = details.permission.partition(".")[0]
    role = ROLES.get(details.permission) or ("roles/compute.instanceAdmin.v1" if service == "compute" else "")
    owner = details.owner or project
    if role:
        return f"Ask a project owner to run {_binding_command(owner, role)}"
    if details.permission:
        return f"Ask the owner of project {owner} for a role that includes {details.permission}"
    return f"Send this message to the owner of project {owner}; Google names no permission"


def _quota_project_hint(consumer: str, project: str, set_command: str) -> str:
    binding = _binding_command(consumer, "roles/serviceusage.serviceUsageConsumer")
    if consumer == project or not set_command:
        return f"Ask a project owner to run {binding}"
    use = f"`{set_command}{quote_word(project)}`"
    return f"Run {use}, or ask an owner of {consumer} to run {binding}"


def _binding_command(project: str, role: str) -> str:
    return shell_command(
        "gcloud", "projects", "add-iam-policy-binding", project, "--member=user:EMAIL", f"--role={role}"
    )


def _metadata_items(infos: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for info in infos:
        metadata = info.get("metadata")
        if isinstance(metadata, Mapping):
            yield from ((str(key), str(value)) for key, value in metadata.items() if isinstance(value, str))
