"""OS Login: the account and the SSH keys of a Google account, which are valid on every instance.

Uses the REST API v1 and google-auth: Google's client library for it is not among the dependencies.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ...core.access import InstalledKey, LoginAccess, LoginIdentity
from ...core.errors import CloudError
from ...core.fast_dataclass import fast_dataclass
from ...core.sanitize import clean_line
from ..client import credentials, gcloud_config
from ..client.api import Api
from ..client.credentials import email_of
from ..client.error_mapping import NotFound


@fast_dataclass(frozen=True)
class OsLoginClient:
    """``api``: as for Compute Engine, with OS Login's address."""

    api: Api
    email: str

    def request(self, verb: str, resource: str, doing: str, *, query: Mapping[str, str], body: Any = None) -> Any:
        """The JSON of the response. Raises ``CloudError``, ``NotFound``."""
        from google.api_core.exceptions import from_http_response
        from google.auth.transport.requests import AuthorizedSession

        url = f"{self.api.endpoint}/v1/users/{quote(self.email, safe='@')}{resource}"

        def send(*, request: dict[str, Any], retry: None, timeout: float) -> Any:
            session: Any = AuthorizedSession(self.api.identity.credentials)  # type: ignore[no-untyped-call]  # in part
            with session:
                answer = session.request(verb, url, params=dict(query), json=body, timeout=timeout)
            if answer.status_code >= 400:
                raise from_http_response(answer)  # type: ignore[no-untyped-call]  # google-api-core types it in part
            return answer.json()

        return self.api.call(send, {}, doing=doing)


def read_access(api: Api, login: LoginIdentity) -> LoginAccess:
    """``user`` is empty if there is no account in the project yet."""
    return _access(_profile(_client(api), api.project), login)


def import_key(api: Api, new: InstalledKey, login: LoginIdentity, *, no_expiry: bool) -> LoginAccess:
    """Imports the key, or sets the expiry of one that is there unless ``no_expiry``. Raises ``CloudError``."""
    client = _client(api)
    name = _key_name(_profile(client, api.project), new.key)
    body = {} if no_expiry else {"expirationTimeUsec": str(new.until * 1_000_000)}
    if name and not no_expiry:
        doing = "renew the SSH key in OS Login"
        client.request("PATCH", f"/sshPublicKeys/{name}", doing, query={"updateMask": "expirationTimeUsec"}, body=body)
        profile = _profile(client, api.project)
    else:
        profile = _import(client, api.project, {"key": new.key, **body})
    if not profile.get("posixAccounts"):
        # The import creates the account too.
        profile = _import(client, api.project, {"key": new.key, **body})
    access = _access(profile, dataclasses.replace(login, keys=(new.key,)))
    if not access.user:
        raise CloudError("key-not-added", f"{client.email} has no OS Login account in project {api.project}")
    return access


def delete_key(api: Api, key: InstalledKey) -> None:
    client = _client(api)
    name = _key_name(_profile(client, ""), key.key)
    if name:
        try:
            client.request("DELETE", f"/sshPublicKeys/{name}", "remove the SSH key from OS Login", query={})
        except NotFound:
            return


def _client(api: Api) -> OsLoginClient:
    endpoint = gcloud_config.endpoint(api.environ, gcloud_config.OS_LOGIN)
    if not api.identity.is_anonymous:
        credentials.check_encrypted(endpoint, gcloud_config.OS_LOGIN)
    return OsLoginClient(dataclasses.replace(api, endpoint=endpoint), email_of(api.identity, api.environ))


def _profile(client: OsLoginClient, project: str) -> dict[str, Any]:
    query = {"projectId": project} if project else {}
    try:
        profile = client.request("GET", "/loginProfile", f"read the OS Login profile of {client.email}", query=query)
    except NotFound:
        return {}
    return profile if isinstance(profile, dict) else {}


def _import(client: OsLoginClient, project: str, body: Mapping[str, str]) -> dict[str, Any]:
    query = {"projectId": project}
    answer = client.request("POST", ":importSshPublicKey", "add the SSH key to OS Login", query=query, body=body)
    profile = answer.get("loginProfile") if isinstance(answer, dict) else None
    return profile if isinstance(profile, dict) else {}


def _access(profile: Mapping[str, Any], login: LoginIdentity) -> LoginAccess:
    now = time.time()
    valid: dict[str, float | None] = {}
    for each in profile.get("sshPublicKeys", {}).values():
        key = " ".join(str(each.get("key", "")).split()[:2])
        until = int(each["expirationTimeUsec"]) / 1e6 if each.get("expirationTimeUsec") else None
        if key in login.keys and (until is None or until > now):
            valid[key] = until
    ends = list(valid.values())
    last = None if None in ends else max((end for end in ends if end is not None), default=None)
    return LoginAccess("os-login", _user(profile, login.user), tuple(valid), last)


def _user(profile: Mapping[str, Any], requested: str | None) -> str:
    """The requested account if it exists, else the primary one, else the first."""
    accounts = [each for each in profile.get("posixAccounts", ()) if each.get("operatingSystemType") != "WINDOWS"]
    names = [clean_line(str(each.get("username", "")), 64) for each in accounts]
    if requested in names:
        return str(requested)
    primary = [name for name, each in zip(names, accounts, strict=True) if each.get("primary")]
    return next(iter([*primary, *names]), "")


def _key_name(profile: Mapping[str, Any], key: str) -> str:
    for name, each in profile.get("sshPublicKeys", {}).items():
        if " ".join(str(each.get("key", "")).split()[:2]) == key:
            return quote(str(name), safe="")
    return ""
