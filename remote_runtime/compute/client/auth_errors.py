"""google-auth's exceptions when credentials are refreshed or exchanged, as ``CloudError``."""

from __future__ import annotations

import json
import os
import re
import traceback
from typing import Any

from ...core.errors import CloudError
from ...core.sanitize import clean_line, redact
from ...core.shell_command import shell_command
from . import error_info
from .credential_sources import impersonation_hint
from .transport_errors import unsent_error

IMPERSONATE_PERMISSION = "iam.serviceAccounts.getAccessToken"
# The output of a program that makes credentials may contain them (google.auth.pluggable).
_FILE = re.compile(r"^File '.*'(?= was not found)", re.DOTALL)  # its path may be the token (google.auth.identity_pool)
_PROGRAM = re.compile(r"(Executable exited with non-zero return code -?\d+).*", re.DOTALL)


class SignInUnavailable(CloudError):
    """``cloud-unreachable``: a retry may succeed."""


def raised_while_refreshing(exc: BaseException) -> bool:
    """True if google-auth raised ``exc`` while it refreshed credentials. It lets through any exception of the files and
    programs that it reads then."""
    return any(
        frame.f_code.co_name in ("refresh", "retrieve_subject_token")
        and str(frame.f_globals.get("__name__", "")).startswith(("google.auth.", "google.oauth2."))
        for frame, _ in traceback.walk_tb(exc.__traceback__)
    )


def safe_message(exc: Exception) -> str:
    """The first part of google-auth's message; the rest may be a response or a file with secrets."""
    import google.auth.exceptions

    if isinstance(exc, google.auth.exceptions.GoogleAuthError):
        message = str(exc.args[0]) if exc.args and isinstance(exc.args[0], (str, Exception)) else type(exc).__name__
        message = _FILE.sub("The file with the token", _PROGRAM.sub(r"\1", message))
        return clean_line(redact(message), error_info.MAX_WHY_CHARS)
    if isinstance(exc, OSError) and exc.errno:
        return os.strerror(exc.errno)
    return f"google-auth can't use them ({type(exc).__name__})"


def is_transient(exc: Exception) -> bool:
    """True if a retry may succeed: there was no response, or one that asks for a retry."""
    import google.auth.exceptions as auth

    is_known = isinstance(exc, auth.TransportError) or (isinstance(exc, auth.GoogleAuthError) and bool(exc.retryable))
    return is_known and unsent_error(exc) is None


def is_token_exchange_error(exc: Exception) -> bool:
    """True if the request for a token failed, rather than reading the credentials."""
    import google.auth.exceptions as auth

    return isinstance(exc, (auth.TransportError, auth.RefreshError)) or raised_while_refreshing(exc)


def credentials_error(exc: Exception, *, renew_hint: str, acts_as: str = "", project: str = "") -> CloudError:
    """The reason why credentials cannot be used. ``acts_as``: the service account that they impersonate."""
    if error := unsent_error(exc):
        return error
    message = safe_message(exc)
    if is_transient(exc):
        return SignInUnavailable("cloud-unreachable", "Can't reach Google's sign-in", message)
    details = _error_details(exc) if "impersonated" in message else None
    if details is None:
        return CloudError("no-credentials", "Google rejects the credentials", message, renew_hint)
    target = acts_as or "the service account"
    doing = f"act as {target}"
    if other := error_info.refusal_error(details, doing, project, renew_hint):
        return other
    if details.permission == IMPERSONATE_PERMISSION:
        what = f"No permission to {doing}: {IMPERSONATE_PERMISSION} is missing"
        return CloudError("permission-denied", what, details.message, impersonation_hint(target))
    if details.permission:
        return error_info.permission_denied_error(details, doing, project)
    check = shell_command("gcloud", "iam", "service-accounts", "describe", target)
    hint = f"Check that it exists: {check}" if acts_as else renew_hint
    return CloudError("permission-denied", f"Can't {doing}", details.message, hint)


def _error_details(exc: Exception) -> error_info.ErrorDetails | None:
    """The error in the response, which google-auth keeps behind its message."""
    for part in exc.args[1:]:
        try:
            found: Any = json.loads(part) if isinstance(part, (str, bytes)) else part
        except ValueError:
            continue
        error = found.get("error") if isinstance(found, dict) else None
        if isinstance(error, dict) and isinstance(error.get("message"), str):
            details, errors = error.get("details"), error.get("errors")
            return error_info.parse_error(
                error["message"],
                errors if isinstance(errors, list) else (),
                details if isinstance(details, list) else (),
            )
    return None
