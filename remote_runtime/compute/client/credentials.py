"""Loads Google credentials: Application Default Credentials, a token file, gcloud's login, or none (an emulator)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...core.errors import CloudError
from ...core.fast_dataclass import fast_dataclass
from ...core.sanitize import clean_line
from . import auth_errors, credential_sources, credentials_file, gcloud_config
from .credential_sources import LOGIN_COMMAND
from .credential_sources import LOGIN_HINT as LOGIN_HINT

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

RENEW_FILE_HINT = "Run `gcloud auth print-access-token > FILE`, or unset CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"
MAX_TOKEN_CHARS = 16384
QUOTA_PROJECT = "GOOGLE_CLOUD_QUOTA_PROJECT"
PLAIN_HTTP_REFUSED = "Can't send credentials over plain HTTP"
TOKEN_INFO = "https://oauth2.googleapis.com/tokeninfo"  # noqa: S105  # an address
TOKEN_INFO_TIMEOUT_S = 10.0
_TOKEN = re.compile(r"[\w.~+/-]+=*", re.ASCII)  # RFC 6750, section 2.1


@fast_dataclass(frozen=True)
class Identity:
    """``project``: the one that the credentials name, if any. ``renew_hint``: for credentials that are refused.
    ``set_quota_project``: the command that sets the quota project, to which its name is appended. ``source``: a
    description. ``acts_as``: the service account that is impersonated, if gcloud is configured so."""

    credentials: Credentials
    project: str | None = None
    renew_hint: str = LOGIN_HINT
    set_quota_project: str = "gcloud auth application-default set-quota-project "
    is_anonymous: bool = False
    source: str = "no credentials"
    acts_as: str = ""


def load(
    environ: Mapping[str, str], endpoint: str, service: gcloud_config.ApiEndpoint = gcloud_config.COMPUTE
) -> Identity:
    """The credentials for ``service`` at ``endpoint``. Raises ``CloudError`` ``no-credentials``, also if they would be
    sent unencrypted, to ``endpoint`` or to the address that renews them."""
    from google.auth.credentials import AnonymousCredentials

    if gcloud_config.has_no_credentials(environ):
        anonymous = AnonymousCredentials()  # type: ignore[no-untyped-call]  # google-auth types it in part
        return Identity(anonymous, renew_hint="Unset CLOUDSDK_AUTH_DISABLE_CREDENTIALS", is_anonymous=True)
    check_encrypted(endpoint, service)
    identity = _load_authenticated(environ)
    for name, address in credential_sources.token_endpoints(identity.credentials):
        if not gcloud_config.may_carry_credentials(address):
            why = f"`{name}` in the credentials file is not an https:// address"
            raise CloudError("no-credentials", PLAIN_HTTP_REFUSED, why, identity.renew_hint)
    accounts = gcloud_config.impersonated_accounts(environ)
    if not accounts:
        return identity
    check_encrypted(gcloud_config.endpoint(environ, gcloud_config.IAM_CREDENTIALS), gcloud_config.IAM_CREDENTIALS)
    target = clean_line(accounts[-1], 120)
    return replace(
        identity,
        credentials=credential_sources.impersonate(identity.credentials, accounts, environ),
        source=f"{identity.source}, acting as {target}",
        acts_as=target,
    )


def check_encrypted(endpoint: str, service: gcloud_config.ApiEndpoint) -> None:
    """Raises ``CloudError`` ``no-credentials`` if ``endpoint`` of ``service`` would receive credentials unencrypted."""
    if not gcloud_config.may_carry_credentials(endpoint):
        raise CloudError(
            "no-credentials",
            PLAIN_HTTP_REFUSED,
            f"the {service.name} is set to {endpoint}",
            f"Use an https:// address in {service.variable}, or set CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true for an "
            "emulator",
        )


def _load_authenticated(environ: Mapping[str, str]) -> Identity:
    if token_file := environ.get("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"):
        credentials = _from_token_file(token_file)
        return Identity(
            credentials, renew_hint=RENEW_FILE_HINT, source=f"the access token in {clean_line(token_file, 300)}"
        )
    return _default(environ)


def _from_token_file(path: str) -> Credentials:
    from google.oauth2.credentials import Credentials as TokenCredentials

    try:
        with open(path, encoding="ascii") as file:
            token = file.read(MAX_TOKEN_CHARS).strip()
    except UnicodeDecodeError:
        raise _unusable_token_file(path, "it is not an access token") from None  # the exception has the contents
    except (OSError, ValueError) as exc:
        why = (exc.strerror if isinstance(exc, OSError) else "") or "it can't be read"
        raise _unusable_token_file(path, why) from None  # the exception has the variable's value
    if not _TOKEN.fullmatch(token):
        raise _unusable_token_file(path, "it is not an access token" if token else "it is empty")
    return TokenCredentials(token=token)  # type: ignore[no-untyped-call]  # google-auth types it in part


def _unusable_token_file(path: str, why: str) -> CloudError:
    """``path`` is shown only if it is one: the variable may have been set to the token itself."""
    where = credentials_file.path_if_safe(path) or "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE names no file"
    return CloudError("no-credentials", "Can't read the access token", f"{where}: {why}", RENEW_FILE_HINT)


def _default(environ: Mapping[str, str]) -> Identity:
    """Application Default Credentials, else gcloud's login. If the environment names a file, nothing else is tried."""
    import google.auth

    try:
        credentials, project = google.auth.default(scopes=[credential_sources.SCOPE])
    except Exception as exc:  # noqa: BLE001  what google-auth makes of a file that a person wrote; no list is complete
        if auth_errors.is_token_exchange_error(exc):  # some credentials are exchanged while they are loaded
            raise auth_errors.credentials_error(exc, renew_hint=LOGIN_HINT) from None
        if not environ.get(credentials_file.VARIABLE) and (found := credential_sources.gcloud_credentials(environ)):
            credentials, account = found
            return Identity(credentials, renew_hint="Run `gcloud auth login`", source=f"gcloud's login of {account}")
        # Not "from exc": its message may contain the file's content.
        raise credentials_file.unusable_error(environ, type(exc).__name__) from None
    source, renew = credential_sources.describe(credentials)
    is_named = bool(environ.get(credentials_file.VARIABLE))
    if is_named and LOGIN_COMMAND in renew:  # the login's file is ignored while the variable is set
        renew = renew.replace("Run ", f"Unset {credentials_file.VARIABLE}, then run ")
    if is_named or environ.get(QUOTA_PROJECT):
        return Identity(
            credentials, project, renew_hint=renew, source=source, set_quota_project=f"set {QUOTA_PROJECT}="
        )
    return Identity(credentials, project, renew_hint=renew, source=source)


def email_of(identity: Identity, environ: Mapping[str, str]) -> str:
    """The email of the credentials' account: OS Login keeps accounts and keys under it. Raises ``CloudError``
    ``no-credentials`` if it is unknown."""
    credentials: Any = identity.credentials
    if getattr(credentials, "service_account_email", "") == "default":
        refresh(identity)  # the metadata server of a Google machine reports it
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
            "No account for OS Login",
            "the credentials name no account",
            "Run `gcloud config set account EMAIL`",
        )
    return email


def _email_of_token(credentials: Any) -> str:
    """The email that Google reports for the token; empty if none. The token is sent in the body."""
    from google.auth.transport.requests import Request
    from requests import post

    try:
        if not credentials.valid:
            credentials.refresh(Request())
        answer = post(TOKEN_INFO, data={"access_token": credentials.token}, timeout=TOKEN_INFO_TIMEOUT_S)
        return clean_line(str(answer.json().get("email", "")), 320)
    except Exception:  # noqa: BLE001  of google-auth's exceptions no list is complete; gcloud's configuration may have it
        return ""


def refresh(identity: Identity, request: Any = None) -> None:
    """Gets a new access token. Raises ``CloudError``, ``SignInUnavailable`` if a retry may succeed."""
    from google.auth.transport.requests import Request

    try:
        identity.credentials.refresh(request or Request())  # type: ignore[no-untyped-call]  # google-auth types it in part
    except Exception as exc:
        if not auth_errors.raised_while_refreshing(exc):
            raise
        # Not "from exc": its message may contain the credentials.
        raise auth_errors.credentials_error(exc, renew_hint=identity.renew_hint, acts_as=identity.acts_as) from None
