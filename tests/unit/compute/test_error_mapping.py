"""What the exceptions of Google's libraries become."""

from __future__ import annotations

import json
from typing import Any

import google.api_core.exceptions
import google.auth.exceptions
import pytest
import requests
from google.auth.credentials import AnonymousCredentials

from remote_runtime.compute.client import error_mapping
from remote_runtime.compute.client.credentials import LOGIN_HINT, Identity

ENDPOINT = "https://compute.googleapis.com"


def explain(exc: Exception) -> error_mapping.ApiFailure:
    assert error_mapping.is_client_error(exc)
    return error_mapping.map_error(
        exc,
        endpoint=ENDPOINT,
        doing="read gpu-box",
        project="demo",
        identity=Identity(AnonymousCredentials()),  # type: ignore[no-untyped-call]  # google-auth types it in part
    )


def test_credentials_that_google_does_not_renew_lead_to_the_login_command() -> None:
    said = "invalid_grant: Token has been expired or revoked."
    failure = explain(google.auth.exceptions.RefreshError(said, {"error": "invalid_grant"}))  # type: ignore[no-untyped-call]  # google-auth types it in part
    assert failure.transient == "no"
    assert (failure.error.code, failure.error.why, failure.error.hint) == ("no-credentials", said, LOGIN_HINT)


@pytest.mark.parametrize(
    "exc",
    [
        google.auth.exceptions.TransportError(requests.exceptions.ConnectTimeout("oauth2")),  # type: ignore[no-untyped-call]  # as above
        google.auth.exceptions.RefreshError("internal_failure", retryable=True),  # type: ignore[no-untyped-call]  # as above
    ],
)
def test_a_sign_in_service_that_does_not_answer_is_tried_again(exc: Exception) -> None:
    failure = explain(exc)
    assert failure.transient == "unreachable"
    assert failure.error.code == "cloud-unreachable"
    assert failure.error.what == "Can't reach Google's sign-in"


def test_a_name_that_cannot_be_resolved_is_told_in_the_systems_words() -> None:
    try:
        raise OSError(-2, "Name or service not known")
    except OSError as cause:
        exc = requests.exceptions.ConnectionError("Max retries exceeded with url: /compute/v1/")
        exc.__cause__ = cause
    failure = explain(exc)
    assert failure.error.what == f"Can't reach the Compute Engine API at {ENDPOINT}"
    assert failure.error.why == "Name or service not known"


def test_an_unusable_proxy_is_named_as_such() -> None:
    failure = explain(requests.exceptions.ProxyError("Cannot connect to proxy."))
    assert failure.error.why == "the proxy set in the environment can't be used"


def answered(
    status: int, message: str, *, reason: str = "", old: str = "forbidden", **metadata: str
) -> error_mapping.ApiFailure:
    """What becomes of an answer of Google's, as its own client reads it. ``reason``: google.rpc.ErrorInfo's."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "metadata": metadata}
    error: dict[str, Any] = {"code": status, "message": message, "errors": [{"reason": old, "message": message}]}
    response = requests.Response()
    response.status_code = status
    response._content = json.dumps({"error": error | ({"details": [info]} if reason else {})}).encode()
    response.request = requests.Request("GET", f"{ENDPOINT}/compute/v1/projects/demo").prepare()
    return explain(google.api_core.exceptions.from_http_response(response))  # type: ignore[no-untyped-call]  # as above


@pytest.mark.parametrize(
    ("message", "reason", "metadata", "wanted"),
    [
        (
            "Caller does not have required permission to use project my-quota. Grant the caller the "
            "roles/serviceusage.serviceUsageConsumer role, or a role with the serviceusage.services.use permission",
            "USER_PROJECT_DENIED",
            {"consumer": "projects/my-quota", "service": "compute.googleapis.com"},
            ["set-quota-project demo", "my-quota", "serviceUsageConsumer"],
        ),
        (
            "Compute Engine API has not been used in project 12345 before or it is disabled.",
            "SERVICE_DISABLED",
            {"consumer": "projects/12345", "service": "compute.googleapis.com"},
            ["gcloud services enable compute.googleapis.com --project=12345"],
        ),
        (
            "This API method requires billing to be enabled. Please enable billing on project #12345.",
            "BILLING_DISABLED",
            {"consumer": "projects/12345", "service": "compute.googleapis.com"},
            ["gcloud billing projects link 12345"],
        ),
        (
            "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: abc",
            "SECURITY_POLICY_VIOLATED",
            {"consumer": "projects/12345", "uid": "abc"},
            ["administrator"],
        ),
        (
            "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: abc",
            "",
            {},
            ["administrator"],
        ),
        (
            "Permission denied on resource project demo.",
            "CONSUMER_INVALID",
            {"consumer": "projects/demo"},
            ["describe"],
        ),
        ("Request had insufficient authentication scopes.", "ACCESS_TOKEN_SCOPE_INSUFFICIENT", {}, [LOGIN_HINT]),
        ("Forbidden", "SOMETHING_NEW", {}, ["names no permission"]),
    ],
)
def test_a_refusal_that_no_role_mends_proposes_none(
    message: str, reason: str, metadata: dict[str, str], wanted: list[str]
) -> None:
    error = answered(403, message, reason=reason, **metadata).error
    assert error.code == "permission-denied"
    assert message[:300] in error.why
    assert not [word for word in wanted if word not in error.hint]
    assert "instanceAdmin" not in error.hint
    named = metadata.get("consumer", "projects/demo").removeprefix("projects/")
    assert named in error.what or "role" not in error.hint


@pytest.mark.parametrize(
    ("message", "metadata", "role", "project"),
    [
        (
            "Required 'compute.instances.get' permission for 'projects/demo/zones/z/instances/i'",
            {},
            "instanceAdmin",
            "demo",
        ),
        (
            "Required 'compute.subnetworks.use' permission for 'projects/host/regions/r/subnetworks/s'",
            {},
            "admin",
            "host",
        ),
        ("Permission denied", {"permission": "iap.tunnelInstances.accessViaIAP"}, "tunnelResourceAccessor", "demo"),
        ("Required 'storage.buckets.get' permission", {}, "", "demo"),
    ],
)
def test_a_role_is_proposed_for_the_permission_that_is_named_and_where_it_is_missing(
    message: str, metadata: dict[str, str], role: str, project: str
) -> None:
    error = answered(403, message, reason="IAM_PERMISSION_DENIED", **metadata).error
    assert "is missing" in error.what
    assert role.lower() in error.hint.lower()
    assert ("--role=" in error.hint) == bool(role)
    assert project in error.hint


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        (
            "Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 0.0 globally.",
            ["GPUS_ALL_REGIONS", "Request", "quotas?project=demo"],
        ),
        (
            "Quota 'NVIDIA_T4_GPUS' exceeded.  Limit: 1.0 in region us-east1.",
            ["regions describe us-east1 --project=demo"],
        ),
        ("Quota 'CPUS_ALL_REGIONS' exceeded.  Limit: 12.0 globally.", ["project-info describe --project=demo"]),
        ("Quota 'IN_USE_ADDRESSES' exceeded.  Limit: 0.0 in region us-east1.", ["IN_USE_ADDRESSES", "Request"]),
    ],
)
def test_a_quota_is_shown_where_it_is_and_one_of_nothing_is_asked_for(message: str, wanted: list[str]) -> None:
    for error in (
        answered(403, message, old="quotaExceeded").error,
        answered(400, message, old="invalid").error,
        error_mapping.quota_error(message, "start gpu-box", "demo"),
    ):
        assert error.code == "quota-exceeded"
        assert not [word for word in wanted if word not in error.hint]


def test_a_resource_that_is_not_ready_may_be_so_later() -> None:
    failure = answered(400, "The resource 'projects/demo/…' is not ready", old="resourceNotReady")
    assert failure.transient == "busy"
    assert failure.error.code == "instance-not-startable"
    assert "is not ready" in failure.error.why


def test_a_token_that_a_library_repeats_is_not_shown() -> None:
    told = explain(
        requests.exceptions.InvalidHeader("reserved character(s) in header value: 'Bearer ya29.SECRET'")
    ).error
    assert "SECRET" not in str(told.as_dict())
