"""Maps the exceptions of Google's client and the HTTP library to ``CloudError``; the only place that knows them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from ...core.errors import CloudError
from ...core.fast_dataclass import fast_dataclass
from ...core.sanitize import clean_line, redact
from ...core.shell_command import shell_command
from . import auth_errors, error_info, gcloud_config
from .transport_errors import exception_chain, unsent_error

if TYPE_CHECKING:
    import google.api_core.exceptions as api

    from .credentials import Identity

CLIENT_VARIABLES = (
    "GOOGLE_API_USE_MTLS_ENDPOINT",
    "GOOGLE_API_USE_CLIENT_CERTIFICATE",
    "GOOGLE_API_CERTIFICATE_CONFIG",
    "GOOGLE_CLOUD_UNIVERSE_DOMAIN",
)
_BUSY_REASONS = ("rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED")
_NO_CAPACITY = re.compile("ZONE_RESOURCE_POOL_EXHAUSTED|STOCKOUT|does not have enough resources available")
_QUOTA = re.compile(
    r"[Qq]uota '(?P<name>[\w.-]{1,80})' exceeded\.\s+Limit: (?P<limit>[\d.]+)(?: in region (?P<region>[a-z0-9-]+))?"
)


@fast_dataclass(frozen=True)
class ApiFailure:
    """``transient``: why a retry may succeed: the API is ``busy`` or ``unreachable``; ``no`` if it will not."""

    error: CloudError
    transient: Literal["no", "busy", "unreachable"] = "no"


class NotFound(CloudError):
    """``instance-not-found`` for one request; the search decides what that means."""


class InvalidRequest(CloudError):
    """``instance-not-startable`` for a request that Compute Engine rejects; a search raises another error instead."""


class AlreadyExists(InvalidRequest):
    """A resource of this name exists in the zone."""


class NotReady(InvalidRequest):
    """Another operation on the same resource is under way: a retry may succeed."""


def is_client_error(exc: Exception) -> bool:
    """True if a request through Google's client raised ``exc``, rather than this project's code."""
    import google.api_core.exceptions
    import google.auth.exceptions
    import google.protobuf.json_format  # type: ignore[import-untyped]  # protobuf ships no types
    import requests

    kinds = (
        google.api_core.exceptions.GoogleAPIError,
        google.auth.exceptions.GoogleAuthError,
        google.protobuf.json_format.Error,
        requests.exceptions.RequestException,
        # Google's client raises it for JSON that is no error object, as of a captive portal.
        AttributeError,
    )
    return isinstance(exc, kinds) or auth_errors.raised_while_refreshing(exc) or unsent_error(exc) is not None


def is_timeout(exc: Exception) -> bool:
    import requests

    return any(isinstance(link, requests.exceptions.Timeout) for link in exception_chain(exc))


def map_error(
    exc: Exception,
    *,
    endpoint: str,
    doing: str,
    project: str,
    identity: Identity,
    api_name: str = gcloud_config.COMPUTE.name,
) -> ApiFailure:
    """What a failed request of ``identity`` means. ``doing`` completes "can't …"."""
    import google.api_core.exceptions as api
    import google.auth.exceptions as auth
    import requests

    if error := unsent_error(exc):
        return ApiFailure(error)
    if isinstance(exc, requests.exceptions.RequestException):
        return ApiFailure(unreachable_error(endpoint, _connection_problem(exc), api_name), "unreachable")
    if isinstance(exc, auth.GoogleAuthError) or auth_errors.raised_while_refreshing(exc):
        if auth_errors.is_transient(exc):
            why = _connection_problem(exc) if isinstance(exc, auth.TransportError) else auth_errors.safe_message(exc)
            return ApiFailure(CloudError("cloud-unreachable", "Can't reach Google's sign-in", why), "unreachable")
        return ApiFailure(
            auth_errors.credentials_error(
                exc, project=project, renew_hint=identity.renew_hint, acts_as=identity.acts_as
            )
        )
    if not isinstance(exc, api.GoogleAPICallError):
        return ApiFailure(unreachable_error(endpoint, f"the response is not from the {api_name}", api_name), "busy")
    details = _details(exc)
    why, reasons = details.message, details.reasons
    status = int(exc.code) if exc.code is not None else 0
    if is_no_capacity(*reasons, why):
        return ApiFailure(no_capacity_error(doing, why))
    if status == 429 or status >= 500 or reasons.intersection(_BUSY_REASONS):
        return ApiFailure(unreachable_error(endpoint, f"it responds {status}: {why}", api_name), "busy")
    if status == 401:
        return ApiFailure(CloudError("no-credentials", "Google rejects the credentials", why, identity.renew_hint))
    if status == 403:
        if any("quota" in reason.lower() for reason in reasons):
            return ApiFailure(quota_error(why, doing, project))
        return ApiFailure(
            error_info.refusal_error(details, doing, project, identity.renew_hint, identity.set_quota_project)
            or error_info.permission_denied_error(details, doing, project)
        )
    if status == 409 and (isinstance(exc, api.AlreadyExists) or "alreadyExists" in reasons or "already exists" in why):
        return ApiFailure(AlreadyExists("instance-not-startable", f"Can't {doing}: it exists", why))
    if status == 404:
        return ApiFailure(NotFound("instance-not-found", f"Can't {doing}: not found", why))
    if "quota" in why.lower():
        return ApiFailure(quota_error(why, doing, project))
    if "resourceNotReady" in reasons:
        return ApiFailure(NotReady("instance-not-startable", f"Can't {doing} yet", why), "busy")
    return ApiFailure(InvalidRequest("instance-not-startable", f"Can't {doing}", why))


def unusable_client_error(exc: Exception) -> CloudError:
    """The error for Google's own environment variables that its client cannot use."""
    variables = [name for name in CLIENT_VARIABLES if os.environ.get(name) is not None]
    hint = f"Correct or unset {' and '.join(variables)}" if variables else ""
    why = f"{' or '.join(variables) or 'the environment'} has an invalid value ({type(exc).__name__})"
    return CloudError("cloud-unreachable", "Can't set up Google's client library", why, hint)


def unreachable_error(endpoint: str, why: str, api_name: str = gcloud_config.COMPUTE.name) -> CloudError:
    return CloudError("cloud-unreachable", f"Can't reach the {api_name} at {endpoint}", why)


def is_no_capacity(*texts: str) -> bool:
    """Whether one of the codes or messages of a failure says that the zone has no capacity: another zone may have."""
    return any(_NO_CAPACITY.search(text) for text in texts)


def no_capacity_error(doing: str, why: str) -> CloudError:
    return CloudError("no-capacity", f"The zone has no capacity: can't {doing}", why)


def quota_error(why: str, doing: str, project: str) -> CloudError:
    """``quota-exceeded`` with the page on which a higher limit is requested, and the command that shows the usage; of a
    limit of 0 nothing is in use."""
    found = _QUOTA.search(why)
    page = f"https://console.cloud.google.com/iam-admin/quotas?project={quote(project, safe='')}"
    describe, of_project = ("gcloud", "compute"), f"--project={project}"
    usage = shell_command(*describe, "project-info", "describe", of_project)
    if found and found["region"]:
        usage = shell_command(*describe, "regions", "describe", found["region"], of_project)
    hint = f"See the usage with {usage}, or request a higher limit on {page}"
    if found and float(found["limit"].rstrip(".") or 0) == 0:
        hint = f"The project has no quota of {found['name']}. Request it on {page}"
    return CloudError("quota-exceeded", f"Quota exceeded: can't {doing}", why, hint)


def _details(exc: api.GoogleAPICallError) -> error_info.ErrorDetails:
    """Google's message in an API error, without the request that it repeats."""
    text = re.sub(r"^[A-Z]{3,6} https?://\S+: ", "", str(exc.message or exc), count=1)
    return error_info.parse_error(text, exc.errors, exc.details)


def _connection_problem(exc: Exception) -> str:
    """The innermost cause in plain words: the libraries wrap a refused connection five times."""
    import requests

    links = exception_chain(exc)
    if is_timeout(exc):
        return "the request timed out"
    if any(isinstance(link, requests.exceptions.ProxyError) for link in links):
        return "the proxy set in the environment can't be used"
    for link in links:
        if isinstance(link, ConnectionRefusedError):
            return "connection refused"
        if isinstance(link, OSError) and link.strerror and not isinstance(link, requests.exceptions.RequestException):
            return clean_line(link.strerror, error_info.MAX_WHY_CHARS)
    return clean_line(redact(str(exc)), error_info.MAX_WHY_CHARS)  # it repeats a header that cannot be sent
