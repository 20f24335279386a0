"""Who we are to Google: Application Default Credentials, a token file, or nobody (an emulator)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import CloudError
from ..untrusted import clean_line
from . import settings

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

LOGIN_HINT = "Run: gcloud auth application-default login"
RENEW_HINT = "Write the token anew: gcloud auth print-access-token > FILE, or unset CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TOKEN_LIMIT_CHARS = 16384


@dataclass(frozen=True)
class Identity:
    """``project``: the one the credentials belong to, if they say so. ``renew``: what to do when they are refused."""

    credentials: Credentials
    project: str | None = None
    renew: str = LOGIN_HINT
    is_nobody: bool = False


def load(environ: Mapping[str, str], endpoint: str) -> Identity:
    """The credentials for ``endpoint``. Raises ``CloudError`` ``no-credentials``, also when they would have to travel
    in the clear."""
    from google.auth.credentials import AnonymousCredentials

    if environ.get("CLOUDSDK_AUTH_DISABLE_CREDENTIALS", "").strip().lower() in ("true", "1", "yes", "on"):
        nobody = AnonymousCredentials()  # type: ignore[no-untyped-call]  # google-auth types it in part
        return Identity(nobody, renew="Unset CLOUDSDK_AUTH_DISABLE_CREDENTIALS", is_nobody=True)
    if urlsplit(endpoint).scheme != "https" and not settings.on_loopback(endpoint):
        raise CloudError(
            "no-credentials",
            "the credentials are not sent over plain HTTP",
            f"the Compute Engine API is set to {endpoint}",
            "Use an https:// address in CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE, or set "
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true for an emulator",
        )
    if token_file := environ.get("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"):
        return Identity(_from_token_file(Path(token_file)), renew=RENEW_HINT)
    return _default()


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
        "the access token cannot be read",
        f"{path}: {why}",
        RENEW_HINT,
    )


def _default() -> Identity:
    import google.auth
    from google.auth.exceptions import GoogleAuthError

    try:
        credentials, project = google.auth.default(scopes=[SCOPE])
    except GoogleAuthError as exc:
        why = clean_line(str(exc), 300) or type(exc).__name__
        raise CloudError("no-credentials", "no usable Google credentials", why, LOGIN_HINT) from exc
    return Identity(credentials, project)
