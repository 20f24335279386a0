"""What the exceptions of Google's libraries become."""

from __future__ import annotations

import google.auth.exceptions
import pytest
import requests

from remote_runtime.compute import failures
from remote_runtime.compute.credentials import LOGIN_HINT

ENDPOINT = "https://compute.googleapis.com"


def explain(exc: Exception) -> failures.Failure:
    assert isinstance(exc, failures.foreign())
    return failures.explain(exc, endpoint=ENDPOINT, doing="read gpu-box", project="demo", renew=LOGIN_HINT)


def test_credentials_that_google_does_not_renew_lead_to_the_login_command() -> None:
    said = "invalid_grant: Token has been expired or revoked."
    failure = explain(google.auth.exceptions.RefreshError(said, {"error": "invalid_grant"}))  # type: ignore[no-untyped-call]  # google-auth types it in part
    assert failure.passing == "no"
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
    assert failure.passing == "unreachable"
    assert failure.error.code == "cloud-unreachable"
    assert failure.error.what == "Google's sign-in does not answer"


def test_a_name_that_cannot_be_resolved_is_told_in_the_systems_words() -> None:
    try:
        raise OSError(-2, "Name or service not known")
    except OSError as cause:
        exc = requests.exceptions.ConnectionError("Max retries exceeded with url: /compute/v1/")
        exc.__cause__ = cause
    failure = explain(exc)
    assert failure.error.what == f"The Compute Engine API at {ENDPOINT} does not answer"
    assert failure.error.why == "Name or service not known"


def test_an_unusable_proxy_is_named_as_such() -> None:
    failure = explain(requests.exceptions.ProxyError("Cannot connect to proxy."))
    assert failure.error.why == "the proxy set in the environment cannot be used"
