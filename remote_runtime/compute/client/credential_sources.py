"""The kinds of Google credentials: their description, and the command that renews them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from ...core.sanitize import clean_line
from ...core.shell_command import shell_command
from . import gcloud_config

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

LOGIN_COMMAND = "gcloud auth application-default login"
LOGIN_HINT = f"Run `{LOGIN_COMMAND}`"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
MAX_NAME_CHARS = 120


def describe(credentials: Credentials) -> tuple[str, str]:
    """A description of Application Default Credentials, and the hint how to renew them."""
    from google.auth import impersonated_credentials
    from google.oauth2 import service_account

    email = clean_line(str(getattr(credentials, "service_account_email", "") or ""), MAX_NAME_CHARS)
    if isinstance(credentials, impersonated_credentials.Credentials):
        return f"Application Default Credentials that act as {email}", f"Run {_impersonated_login(email)}"
    if isinstance(credentials, service_account.Credentials):
        list_command = shell_command("gcloud", "iam", "service-accounts", "keys", "list", f"--iam-account={email}")
        return f"the key of the service account {email}", f"Check that its key still exists: {list_command}"
    if email:
        return f"the service account {email} of this machine", LOGIN_HINT
    return "Application Default Credentials", LOGIN_HINT


def token_endpoints(credentials: Any) -> Iterator[tuple[str, str]]:
    """The addresses to which the credentials of a file are sent for a token, each with its name in the file."""
    for attribute in ("token_uri", "_token_uri", "_token_url", "_service_account_impersonation_url"):
        if isinstance(address := getattr(credentials, attribute, None), str):
            yield attribute.lstrip("_"), address
    if isinstance(address := getattr(credentials, "_iam_endpoint_override", None), str):
        yield "service_account_impersonation_url", address
    if (source := getattr(credentials, "_source_credentials", None)) is not None:
        yield from token_endpoints(source)


def impersonate(source: Credentials, accounts: Sequence[str], environ: Mapping[str, str]) -> Credentials:
    """Credentials of the last of ``accounts``, impersonated by ``source`` through the accounts before it."""
    from google.auth import impersonated_credentials

    *delegates, target = accounts
    override: str | None = None
    if environ.get(gcloud_config.IAM_CREDENTIALS.variable):
        endpoint = gcloud_config.endpoint(environ, gcloud_config.IAM_CREDENTIALS)
        override = f"{endpoint}/v1/projects/-/serviceAccounts/{target}:generateAccessToken"
    return impersonated_credentials.Credentials(  # type: ignore[no-untyped-call]  # google-auth types it in part
        source_credentials=source,
        target_principal=target,
        target_scopes=[SCOPE],
        delegates=[f"projects/-/serviceAccounts/{name}" for name in delegates],
        iam_endpoint_override=override,
    )


def impersonation_hint(target: str) -> str:
    """The hint for credentials that have no permission to impersonate ``target``."""
    command = ["gcloud", "iam", "service-accounts", "add-iam-policy-binding", target]
    role = "roles/iam.serviceAccountTokenCreator"
    return f"Ask its owner to run {shell_command(*command, '--member=user:EMAIL', f'--role={role}')}"


def gcloud_credentials(environ: Mapping[str, str]) -> tuple[Credentials, str] | None:
    """The credentials that `gcloud auth login` stored, and their account; None if they cannot be read."""
    import sqlite3

    account = gcloud_config.account(environ)
    path = gcloud_config.gcloud_config_dir(environ) / "credentials.db"
    if account is None or not os.path.isfile(path):
        return None
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            row = database.execute("SELECT value FROM credentials WHERE account_id = ?", (account,)).fetchone()
        found = _from_info(json.loads(row[0])) if row else None
    except Exception:  # noqa: BLE001  what is made of another program's file; no list of its exceptions is complete
        return None
    return (found, clean_line(account, MAX_NAME_CHARS)) if found is not None else None


def _from_info(info: Any) -> Credentials | None:
    from google.oauth2 import credentials, service_account

    if info.get("type") == "authorized_user":
        user: Credentials = credentials.Credentials.from_authorized_user_info(info)  # type: ignore[no-untyped-call]  # as above
        return user
    if info.get("type") == "service_account":
        robot: Credentials = service_account.Credentials.from_service_account_info(info, scopes=[SCOPE])  # type: ignore[no-untyped-call]  # as above
        return robot
    return None


def _impersonated_login(email: str) -> str:
    return shell_command(*LOGIN_COMMAND.split(), f"--impersonate-service-account={email}")
