"""What Google's client and the HTTP library raise, as our errors: the one place that knows their exceptions."""

from __future__ import annotations

import re
import shlex
from typing import Literal

from ..errors import CloudError
from ..untrusted import clean_line
from ..values import dataclass
from .identities import renew_acting_as

WHY_LIMIT = 400
ROLES = {
    "iam.serviceAccounts.actAs": "roles/iam.serviceAccountUser",
    "compute.instances.osLogin": "roles/compute.osLogin",
    "iap.tunnelInstances.accessViaIAP": "roles/iap.tunnelResourceAccessor",
}
IMPERSONATE = "iam.serviceAccounts.getAccessToken"
_PERMISSION = re.compile(
    r"'?\b([a-z]+(?:\.[A-Za-z]+){2,3})\b'? permission|[Pp]ermission '?([a-z]+(?:\.[A-Za-z]+){2,3})\b"
)
_BUSY_REASONS = ("rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED")
_DISABLED_REASONS = ("accessNotConfigured", "SERVICE_DISABLED")


@dataclass(frozen=True)
class Failure:
    """``passing``: whether the same request may work later, because the API is ``busy`` or ``unreachable`` now."""

    error: CloudError
    passing: Literal["no", "busy", "unreachable"] = "no"


class NotThere(CloudError):
    """``instance-not-found`` for one request; the look-up decides what that means."""


class Refused(CloudError):
    """``instance-not-startable`` for one request that Compute Engine finds wrong; a look-up may mean another thing."""


def foreign() -> tuple[type[Exception], ...]:
    """Everything a request through Google's client may raise."""
    import google.api_core.exceptions
    import google.auth.exceptions
    import google.protobuf.json_format  # type: ignore[import-untyped]  # protobuf ships no types
    import requests

    return (
        google.api_core.exceptions.GoogleAPIError,
        google.auth.exceptions.GoogleAuthError,
        google.protobuf.json_format.Error,
        requests.exceptions.RequestException,
        # Google's client on an answer that is JSON but no error object, from a captive portal for example.
        AttributeError,
    )


def explain(exc: Exception, *, endpoint: str, doing: str, project: str, renew: str, acts_as: str = "") -> Failure:
    """What a failed request means. ``doing`` completes "Compute Engine refuses to …", ``renew`` is the hint for refused
    credentials, ``acts_as`` the service account that they act as."""
    import google.api_core.exceptions as api
    import google.auth.exceptions as auth
    import requests

    if isinstance(exc, requests.exceptions.RequestException):
        return Failure(unreachable(endpoint, _connection_trouble(exc)), "unreachable")
    if isinstance(exc, auth.GoogleAuthError):
        why = clean_line(str(exc.args[0] if exc.args else exc), WHY_LIMIT)
        if isinstance(exc, auth.TransportError) or exc.retryable:
            why = _connection_trouble(exc) if isinstance(exc, auth.TransportError) else why
            return Failure(CloudError("cloud-unreachable", "Google's sign-in does not answer", why), "unreachable")
        if "impersonated" in why and any(
            IMPERSONATE in str(part) or "PERMISSION_DENIED" in str(part) for part in exc.args
        ):
            target = acts_as or "the service account"
            what = f"These credentials may not act as {target}: {IMPERSONATE} is missing"
            return Failure(CloudError("permission-denied", what, why, renew_acting_as(target)))
        return Failure(CloudError("no-credentials", "Google does not accept the credentials", why, renew))
    if not isinstance(exc, api.GoogleAPICallError):
        return Failure(unreachable(endpoint, "what answers there is not the Compute Engine API"), "busy")
    why = said(exc)
    status = int(exc.code) if exc.code is not None else 0
    reasons = _reasons(exc)
    if status == 429 or status >= 500 or reasons.intersection(_BUSY_REASONS):
        return Failure(unreachable(endpoint, f"it answers {status}: {why}"), "busy")
    if status == 401:
        return Failure(CloudError("no-credentials", "Google does not accept the credentials", why, renew))
    if status == 403:
        return Failure(_forbidden(why, reasons, doing, project))
    if status == 404:
        return Failure(NotThere("instance-not-found", f"Compute Engine knows nothing to {doing}", why))
    if "quota" in why.lower():
        return Failure(CloudError("quota-exceeded", f"No quota left to {doing}", why, quota_hint(project)))
    return Failure(Refused("instance-not-startable", f"Compute Engine refuses to {doing}", why))


def unreachable(endpoint: str, why: str) -> CloudError:
    return CloudError("cloud-unreachable", f"The Compute Engine API at {endpoint} does not answer", why)


def quota_hint(project: str) -> str:
    return f"See what is used up: gcloud compute project-info describe --project={shlex.quote(project)}"


def said(exc: Exception) -> str:
    """Google's own words in an API error, without the request they repeat."""
    text = str(getattr(exc, "message", "") or exc)
    return clean_line(re.sub(r"^[A-Z]{3,6} https?://\S+: ", "", text, count=1), WHY_LIMIT)


def _forbidden(why: str, reasons: set[str], doing: str, project: str) -> CloudError:
    of_project = f"--project={shlex.quote(project)}"
    if reasons.intersection(_DISABLED_REASONS):
        hint = f"Turn the API on: gcloud services enable compute.googleapis.com {of_project}"
        return CloudError("permission-denied", f"The Compute Engine API is off in project {project}", why, hint)
    if any("quota" in reason.lower() for reason in reasons):
        return CloudError("quota-exceeded", f"No quota left to {doing}", why, quota_hint(project))
    return denied(why, doing, project)


def denied(why: str, doing: str, project: str) -> CloudError:
    """``permission-denied``, with the permission that ``why`` names and a role that has it."""
    found = _PERMISSION.search(why)
    permission = (found.group(1) or found.group(2)) if found else ""
    if "iam.serviceAccountUser" in why:  # who changes a machine may become its service account
        permission = "iam.serviceAccounts.actAs"
    what = f"These credentials may not {doing}" + (f": {permission} is missing" if permission else "")
    return CloudError(
        "permission-denied",
        what,
        why,
        f"A project owner can grant it: gcloud projects add-iam-policy-binding {shlex.quote(project)} "
        f"--member=user:EMAIL --role={ROLES.get(permission, 'roles/compute.instanceAdmin.v1')}",
    )


def _reasons(exc: Exception) -> set[str]:
    errors = [error for error in getattr(exc, "errors", ()) if isinstance(error, dict)]
    return {str(error.get("reason", "")) for error in errors} | {str(getattr(exc, "reason", "") or "")}


def _connection_trouble(exc: Exception) -> str:
    """The innermost cause in plain words: the libraries wrap a refused connection five times."""
    import requests

    cause: BaseException = exc
    chain = [cause]
    while (inner := cause.__cause__ or cause.__context__) is not None and inner not in chain:
        chain.append(inner)
        cause = inner
    if any(isinstance(link, requests.exceptions.Timeout) for link in chain):
        return "there is no answer in time"
    if any(isinstance(link, requests.exceptions.ProxyError) for link in chain):
        return "the proxy set in the environment cannot be used"
    for link in chain:
        if isinstance(link, ConnectionRefusedError):
            return "nothing accepts connections there"
        if isinstance(link, OSError) and link.strerror and not isinstance(link, requests.exceptions.RequestException):
            return clean_line(link.strerror, WHY_LIMIT)
    return clean_line(str(exc), WHY_LIMIT)
