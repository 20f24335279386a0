"""Who we are to Google: Application Default Credentials, a token file, or nobody (an emulator)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ...core.errors import CloudError
from ...core.frozen import dataclass
from ...core.sanitize import clean_line
from . import auth_errors, credential_sources, credentials_file, gcloud_config
from .credential_sources import LOGIN_HINT as LOGIN_HINT

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

RENEW_HINT = "Write the token anew: gcloud auth print-access-token > FILE, or unset CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"
TOKEN_LIMIT_CHARS = 16384
QUOTA_PROJECT = "GOOGLE_CLOUD_QUOTA_PROJECT"
IN_THE_CLEAR = "The credentials are not sent over plain HTTP"
_TOKEN = re.compile(r"[\w.~+/-]+=*", re.ASCII)  # RFC 6750, section 2.1


@dataclass(frozen=True)
class Identity:
    """``project``: the one the credentials belong to, if they say so. ``renew``: what to do when they are refused.
    ``set_quota_project``: what lets requests count for another project, whose name follows. ``source``: whose they are,
    in words. ``acts_as``: the service account that they act as, if gcloud is told so."""

    credentials: Credentials
    project: str | None = None
    renew: str = LOGIN_HINT
    set_quota_project: str = "gcloud auth application-default set-quota-project "
    is_nobody: bool = False
    source: str = "no credentials"
    acts_as: str = ""


def load(environ: Mapping[str, str], endpoint: str, service: gcloud_config.Service = gcloud_config.COMPUTE) -> Identity:
    """The credentials for ``endpoint`` of ``service``. Raises ``CloudError`` ``no-credentials``, also when they would
    have to travel in the clear, there or where they are renewed."""
    from google.auth.credentials import AnonymousCredentials

    if environ.get("CLOUDSDK_AUTH_DISABLE_CREDENTIALS", "").strip().lower() in ("true", "1", "yes", "on"):
        nobody = AnonymousCredentials()  # type: ignore[no-untyped-call]  # google-auth types it in part
        return Identity(nobody, renew="Unset CLOUDSDK_AUTH_DISABLE_CREDENTIALS", is_nobody=True)
    check_encrypted(endpoint, service)
    identity = _of_someone(environ)
    for name, address in credential_sources.renewed_at(identity.credentials):
        if not gcloud_config.may_carry_credentials(address):
            why = f"`{name}` in the credentials file is not an https:// address"
            raise CloudError("no-credentials", IN_THE_CLEAR, why, identity.renew)
    accounts = gcloud_config.impersonated(environ)
    if not accounts:
        return identity
    check_encrypted(gcloud_config.endpoint(environ, gcloud_config.IAM_CREDENTIALS), gcloud_config.IAM_CREDENTIALS)
    target = clean_line(accounts[-1], 120)
    return replace(
        identity,
        credentials=credential_sources.acting_as(identity.credentials, accounts, environ),
        source=f"{identity.source}, acting as {target}",
        acts_as=target,
    )


def check_encrypted(endpoint: str, service: gcloud_config.Service) -> None:
    """Raises ``CloudError`` ``no-credentials`` where credentials would travel in the clear to ``service``."""
    if not gcloud_config.may_carry_credentials(endpoint):
        raise CloudError(
            "no-credentials",
            IN_THE_CLEAR,
            f"the {service.name} is set to {endpoint}",
            f"Use an https:// address in {service.variable}, or set CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true for an "
            "emulator",
        )


def _of_someone(environ: Mapping[str, str]) -> Identity:
    if token_file := environ.get("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"):
        credentials = _from_token_file(token_file)
        return Identity(credentials, renew=RENEW_HINT, source=f"the access token in {clean_line(token_file, 300)}")
    return _default(environ)


def _from_token_file(named: str) -> Credentials:
    from google.oauth2.credentials import Credentials as TokenCredentials

    try:
        with open(named, encoding="ascii") as file:
            token = file.read(TOKEN_LIMIT_CHARS).strip()
    except UnicodeDecodeError:
        raise _unusable_token_file(named, "it is not an access token") from None  # the exception has the contents
    except (OSError, ValueError) as exc:
        why = (exc.strerror if isinstance(exc, OSError) else "") or "it cannot be read"
        raise _unusable_token_file(named, why) from None  # the exception has the variable's value
    if not _TOKEN.fullmatch(token):
        raise _unusable_token_file(named, "it is not an access token" if token else "it is empty")
    return TokenCredentials(token=token)  # type: ignore[no-untyped-call]  # google-auth types it in part


def _unusable_token_file(named: str, why: str) -> CloudError:
    """The variable may have been set to the token itself."""
    where = credentials_file.shown(named) or "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE names no file"
    return CloudError("no-credentials", "The access token cannot be read", f"{where}: {why}", RENEW_HINT)


def _default(environ: Mapping[str, str]) -> Identity:
    """Application Default Credentials, else what `gcloud auth login` left. A file that the environment names is used,
    or refused."""
    import google.auth

    try:
        credentials, project = google.auth.default(scopes=[credential_sources.SCOPE])
    except Exception as exc:  # noqa: BLE001  what google-auth makes of a file that a person wrote; no list is complete
        if auth_errors.is_exchange(exc):  # some credentials are exchanged for others as they are loaded
            raise auth_errors.refused(exc, project="", renew=LOGIN_HINT) from None
        if not environ.get(credentials_file.VARIABLE) and (found := credential_sources.of_gcloud(environ)):
            credentials, account = found
            return Identity(credentials, renew="Run: gcloud auth login", source=f"gcloud's login of {account}")
        # Not "from exc": its words may have the contents of the file.
        raise credentials_file.unusable(environ, type(exc).__name__) from None
    source, renew = credential_sources.describe(credentials)
    named = bool(environ.get(credentials_file.VARIABLE))
    if named and LOGIN_HINT in renew:  # what a login writes is not looked at while the variable is set
        renew = renew.replace("Run: ", f"Unset {credentials_file.VARIABLE}, then run: ")
    if named or environ.get(QUOTA_PROJECT):
        return Identity(credentials, project, renew=renew, source=source, set_quota_project=f"set {QUOTA_PROJECT}=")
    return Identity(credentials, project, renew=renew, source=source)
