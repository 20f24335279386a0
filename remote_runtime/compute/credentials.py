"""Who we are to Google: Application Default Credentials, a token file, or nobody (an emulator)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import CloudError
from ..untrusted import clean_line
from ..values import dataclass
from . import identities, settings
from .identities import LOGIN_HINT as LOGIN_HINT

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

RENEW_HINT = "Write the token anew: gcloud auth print-access-token > FILE, or unset CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"
TOKEN_LIMIT_CHARS = 16384


@dataclass(frozen=True)
class Identity:
    """``project``: the one the credentials belong to, if they say so. ``renew``: what to do when they are refused.
    ``source``: whose they are, in words. ``acts_as``: the service account that they act as, if gcloud is told so."""

    credentials: Credentials
    project: str | None = None
    renew: str = LOGIN_HINT
    is_nobody: bool = False
    source: str = "no credentials"
    acts_as: str = ""


def load(environ: Mapping[str, str], endpoint: str) -> Identity:
    """The credentials for ``endpoint``. Raises ``CloudError`` ``no-credentials``, also when they would have to travel
    in the clear."""
    from google.auth.credentials import AnonymousCredentials

    if environ.get("CLOUDSDK_AUTH_DISABLE_CREDENTIALS", "").strip().lower() in ("true", "1", "yes", "on"):
        nobody = AnonymousCredentials()  # type: ignore[no-untyped-call]  # google-auth types it in part
        return Identity(nobody, renew="Unset CLOUDSDK_AUTH_DISABLE_CREDENTIALS", is_nobody=True)
    if urlsplit(endpoint).scheme != "https" and not settings.on_loopback(endpoint):
        raise in_the_clear(endpoint, settings.COMPUTE)
    identity = _of_someone(environ)
    accounts = settings.impersonated(environ)
    if not accounts:
        return identity
    target = clean_line(accounts[-1], 120)
    return replace(
        identity,
        credentials=identities.acting_as(identity.credentials, accounts, environ),
        source=f"{identity.source}, acting as {target}",
        acts_as=target,
    )


def _of_someone(environ: Mapping[str, str]) -> Identity:
    if token_file := environ.get("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"):
        source = f"the access token in {clean_line(token_file, 300)}"
        return Identity(_from_token_file(Path(token_file)), renew=RENEW_HINT, source=source)
    return _default(environ)


def in_the_clear(endpoint: str, service: settings.Service) -> CloudError:
    return CloudError(
        "no-credentials",
        "The credentials are not sent over plain HTTP",
        f"the {service.name} is set to {endpoint}",
        f"Use an https:// address in {service.variable}, or set CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true for an emulator",
    )


def _from_token_file(path: Path) -> Credentials:
    from google.oauth2.credentials import Credentials as TokenCredentials

    try:
        with path.open(encoding="ascii") as file:
            token = file.read(TOKEN_LIMIT_CHARS).strip()
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else "it is not an access token"
        raise _unusable_token_file(path, why) from exc
    if not token or not token.isprintable():
        raise _unusable_token_file(path, "it is empty" if not token else "it is not an access token")
    return TokenCredentials(token=token)  # type: ignore[no-untyped-call]  # google-auth types it in part


def _unusable_token_file(path: Path, why: str) -> CloudError:
    return CloudError(
        "no-credentials",
        "The access token cannot be read",
        f"{path}: {why}",
        RENEW_HINT,
    )


def _default(environ: Mapping[str, str]) -> Identity:
    """Application Default Credentials, else what `gcloud auth login` left."""
    import google.auth
    from google.auth.exceptions import GoogleAuthError

    try:
        credentials, project = google.auth.default(scopes=[identities.SCOPE])
    except GoogleAuthError as exc:
        if found := identities.of_gcloud(environ):
            credentials, account = found
            return Identity(credentials, renew="Run: gcloud auth login", source=f"gcloud's login of {account}")
        why = clean_line(str(exc), 300) or type(exc).__name__
        raise CloudError("no-credentials", "No usable Google credentials", why, LOGIN_HINT) from exc
    source, renew = identities.describe(credentials)
    return Identity(credentials, project, renew=renew, source=source)
