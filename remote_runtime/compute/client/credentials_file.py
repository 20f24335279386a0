"""Explains what is wrong with a credentials file, without repeating its content.

google-auth's exceptions contain what could not be read, and the variable that names a file is sometimes set to the
file's content. So this module inspects the file itself, and shows nothing of those exceptions.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.errors import CloudError
from ...core.sanitize import redact
from . import gcloud_config
from .credential_sources import LOGIN_COMMAND, LOGIN_HINT

VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
MAX_FILE_BYTES = 1 << 20
MAX_PATH_CHARS = 300
CLI_PAGE = "https://cloud.google.com/sdk/docs/install"
# The fields that google-auth requires of each type (google.auth._default); text, except for OBJECT_FIELDS.
REQUIRED_FIELDS = {
    "authorized_user": ("client_id", "client_secret", "refresh_token"),
    "service_account": ("client_email", "private_key", "token_uri"),
    "external_account": ("audience", "subject_token_type", "token_url", "credential_source"),
    "external_account_authorized_user": ("token_url",),
    "impersonated_service_account": ("service_account_impersonation_url", "source_credentials"),
    "gdch_service_account": ("project", "name", "private_key", "private_key_id", "token_uri"),
}
OBJECT_FIELDS = ("credential_source", "source_credentials")


def unusable_error(environ: Mapping[str, str], kind: str) -> CloudError:
    """Why Application Default Credentials could not be loaded. ``kind``: the exception's class, used if nothing better
    is known."""
    if value := environ.get(VARIABLE, ""):
        where, why = path_if_safe(value), _value_problem(value) or find_problem(Path(value)) or _unsupported(kind)
        hint = f"Set {VARIABLE} to the path of a credentials file, or unset it and run `{LOGIN_COMMAND}`"
        return _error(f"{VARIABLE} {f'is {where}, and ' if where else ''}{why}", hint)
    path = gcloud_config.gcloud_config_dir(environ) / "application_default_credentials.json"
    if os.path.lexists(path):
        return _error(f"{path} {find_problem(path) or _unsupported(kind)}", LOGIN_HINT)
    where = path_if_safe(str(path)) or f"{path.name} in the folder of CLOUDSDK_CONFIG"
    has_gcloud = shutil.which("gcloud", path=environ.get("PATH")) is not None
    hint = LOGIN_HINT if has_gcloud else f"Install the Google Cloud CLI ({CLI_PAGE}), then run `{LOGIN_COMMAND}`"
    return _error(f"{VARIABLE} is not set, and {where} does not exist", hint)


def path_if_safe(path: str) -> str:
    """``path`` if it can only be a file's path; empty if it may be a secret."""
    is_path = path.isprintable() and not set("{@") & set(path) and len(path) <= MAX_PATH_CHARS and redact(path) == path
    folder = os.path.dirname(path)
    # A token may begin with a slash.
    is_known = os.path.exists(path) or bool(folder.strip("/") and os.path.isdir(folder)) or path.endswith(".json")
    return path if is_path and is_known else ""


def _error(why: str, hint: str) -> CloudError:
    return CloudError("no-credentials", "Not signed in to Google Cloud", why, hint)


def _unsupported(kind: str) -> str:
    return f"has credentials that google-auth can't use ({kind})"


def _value_problem(value: str) -> str:
    """What is wrong with the variable's value, whatever the file contains; completes "VARIABLE is PATH, and …"."""
    if os.path.isfile(value):
        return ""
    if "{" in value or "PRIVATE KEY" in value:
        return "has the contents of a credentials file, not its path"
    if value[0] in "'\"" or value[-1] in "'\"":
        return "has quotation marks in it"
    if value != value.strip():
        return "begins or ends with a blank"
    if os.path.isfile(os.path.expandvars(os.path.expanduser(value))):
        return "has a ~ or a variable in it, which only a shell replaces"
    return "" if path_if_safe(value) else "does not name a file that exists"


def find_problem(path: Path) -> str:
    """What is wrong with the file; completes "PATH …". Empty if nothing is found."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return "does not exist"
    except OSError as exc:
        return f"can't be read: {os.strerror(exc.errno) if exc.errno else type(exc).__name__}"
    if not content.strip():
        return "is empty"
    if len(content) > MAX_FILE_BYTES:
        return "is too large for credentials"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        return "is not UTF-8 text, but UTF-16 as PowerShell writes it"
    if content.startswith(b"\xef\xbb\xbf"):
        return "begins with a byte order mark (BOM); save it as UTF-8 without one"
    try:
        info = json.loads(content.decode("utf-8"))
    except UnicodeDecodeError as exc:
        return f"is not UTF-8 text (byte {exc.start})"
    except json.JSONDecodeError as exc:
        return f"is not JSON (line {exc.lineno}, column {exc.colno})"
    except RecursionError:
        return "is not JSON of credentials"
    return _content_problem(info)


def _content_problem(info: Any) -> str:
    if not isinstance(info, dict):
        return "has no JSON object in it, so it has no credentials"
    kind = info.get("type")
    if "installed" in info or "web" in info:
        return "is an OAuth client's file, which has no credentials"
    if not isinstance(kind, str) or kind not in REQUIRED_FIELDS:
        return f"has an unknown `type`; expected one of ({', '.join(REQUIRED_FIELDS)})"
    for field in REQUIRED_FIELDS[kind]:
        wanted = dict if field in OBJECT_FIELDS else str
        if not isinstance(info.get(field), wanted) or not info[field]:
            return f"is of type {kind} and has no valid `{field}`"
    if kind == "service_account" and not _is_key(info["private_key"]):
        return "has an invalid `private_key`; expected an RSA private key in PEM format"
    return ""


def _is_key(pem: str) -> bool:
    from google.auth import crypt

    try:
        crypt.RSASigner.from_string(pem)  # type: ignore[no-untyped-call]  # google-auth types it in part
    except Exception:  # noqa: BLE001  what a parser makes of another program's file; its words may have the key
        return False
    return True
