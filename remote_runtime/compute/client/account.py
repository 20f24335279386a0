"""The email of the account that the credentials are: OS Login keeps accounts and keys under it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.errors import CloudError
from ...core.sanitize import clean_line
from . import auth_errors, gcloud_config
from .credentials import Identity

TOKEN_INFO = "https://oauth2.googleapis.com/tokeninfo"  # noqa: S105  # an address
TOKEN_INFO_TIMEOUT_S = 10.0


def email_of(identity: Identity, environ: Mapping[str, str]) -> str:
    """Raises ``CloudError`` ``no-credentials`` if nobody tells."""
    credentials: Any = identity.credentials
    if getattr(credentials, "service_account_email", "") == "default":
        _refresh(identity)  # a Google machine's metadata server tells it
    candidates = [getattr(credentials, "service_account_email", ""), getattr(credentials, "account", "")]
    gcloud_account = gcloud_config.account(environ) or ""
    if identity.is_anonymous or environ.get("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"):
        candidates.append(gcloud_account)
    for email in candidates:
        if email and "@" in email:
            return str(email)
    email = ("" if identity.is_anonymous else _email_of_token(credentials)) or gcloud_account
    if not email:
        raise CloudError(
            "no-credentials",
            "it is not known whose OS Login account to use",
            "the credentials name no account",
            "Run: gcloud config set account EMAIL",
        )
    return email


def _email_of_token(credentials: Any) -> str:
    """Google's answer to a token; empty where it says nothing of an email. The token travels in the body."""
    from google.auth.transport.requests import Request
    from requests import post

    try:
        if not credentials.valid:
            credentials.refresh(Request())
        answer = post(TOKEN_INFO, data={"access_token": credentials.token}, timeout=TOKEN_INFO_TIMEOUT_S)
        return clean_line(str(answer.json().get("email", "")), 320)
    except Exception:  # noqa: BLE001  of google-auth's exceptions no list is complete; gcloud's configuration may tell
        return ""


def _refresh(identity: Identity) -> None:
    from google.auth.transport.requests import Request

    credentials: Any = identity.credentials
    try:
        credentials.refresh(Request())
    except Exception as exc:
        if not auth_errors.raised_while_refreshing(exc):
            raise
        raise auth_errors.credentials_error(
            exc, project="", renew_hint=identity.renew_hint
        ) from None  # its words may have a secret
