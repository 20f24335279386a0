"""OS Login: the account and the keys that a person's Google account carries to every machine.

Its REST v1 API, by google-auth: Google's client library for it is not among our dependencies.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ...core.access import Access, AddedKey, Who
from ...core.errors import CloudError
from ...core.frozen import dataclass
from ...core.sanitize import clean_line
from ..client import credentials, gcloud_config
from ..client.account import email_of
from ..client.api import Api
from ..client.error_mapping import NotThere


@dataclass(frozen=True)
class Conversation:
    """``api``: that of Compute Engine, at OS Login's address."""

    api: Api
    email: str

    def ask(self, verb: str, resource: str, doing: str, *, query: Mapping[str, str], body: Any = None) -> Any:
        """The JSON of the answer. Raises ``CloudError``, ``NotThere``."""
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


def look(api: Api, environ: Mapping[str, str], who: Who) -> Access:
    """``user`` is empty if there is no account in the project yet."""
    return _access(_profile(_talk(api, environ), api.project), who)


def email(api: Api, environ: Mapping[str, str]) -> str:
    return email_of(api.identity, environ)


def add(api: Api, environ: Mapping[str, str], new: AddedKey, who: Who, *, endless: bool) -> Access:
    """Imports the key, or moves the end of one that is there unless ``endless``. Raises ``CloudError``."""
    talk = _talk(api, environ)
    name = _name_of(_profile(talk, api.project), new.key)
    body = {} if endless else {"expirationTimeUsec": str(new.until * 1_000_000)}
    if name and not endless:
        doing = "renew our key in OS Login"
        talk.ask("PATCH", f"/sshPublicKeys/{name}", doing, query={"updateMask": "expirationTimeUsec"}, body=body)
        profile = _profile(talk, api.project)
    else:
        profile = _import(talk, api.project, {"key": new.key, **body})
    if not profile.get("posixAccounts"):
        # The import makes the account too.
        profile = _import(talk, api.project, {"key": new.key, **body})
    access = _access(profile, dataclasses.replace(who, keys=(new.key,)))
    if not access.user:
        raise CloudError("key-not-added", f"OS Login gives {talk.email} no account in project {api.project}")
    return access


def withdraw(api: Api, environ: Mapping[str, str], added: AddedKey) -> None:
    talk = _talk(api, environ)
    name = _name_of(_profile(talk, ""), added.key)
    if name:
        try:
            talk.ask("DELETE", f"/sshPublicKeys/{name}", "take our key out of OS Login", query={})
        except NotThere:
            return


def _talk(api: Api, environ: Mapping[str, str]) -> Conversation:
    endpoint = gcloud_config.endpoint(environ, gcloud_config.OS_LOGIN)
    if not api.identity.is_nobody:
        credentials.check_encrypted(endpoint, gcloud_config.OS_LOGIN)
    return Conversation(dataclasses.replace(api, endpoint=endpoint), email_of(api.identity, environ))


def _profile(talk: Conversation, project: str) -> dict[str, Any]:
    query = {"projectId": project} if project else {}
    try:
        profile = talk.ask("GET", "/loginProfile", f"read the OS Login profile of {talk.email}", query=query)
    except NotThere:
        return {}
    return profile if isinstance(profile, dict) else {}


def _import(talk: Conversation, project: str, body: Mapping[str, str]) -> dict[str, Any]:
    query = {"projectId": project}
    answer = talk.ask("POST", ":importSshPublicKey", "put our key into OS Login", query=query, body=body)
    profile = answer.get("loginProfile") if isinstance(answer, dict) else None
    return profile if isinstance(profile, dict) else {}


def _access(profile: Mapping[str, Any], who: Who) -> Access:
    now = time.time()
    valid: dict[str, float | None] = {}
    for each in profile.get("sshPublicKeys", {}).values():
        key = " ".join(str(each.get("key", "")).split()[:2])
        until = int(each["expirationTimeUsec"]) / 1e6 if each.get("expirationTimeUsec") else None
        if key in who.keys and (until is None or until > now):
            valid[key] = until
    ends = list(valid.values())
    last = None if None in ends else max((end for end in ends if end is not None), default=None)
    return Access("os-login", _user(profile, who.user), tuple(valid), last)


def _user(profile: Mapping[str, Any], wanted: str | None) -> str:
    """The account asked for, else the primary one, else the first."""
    accounts = [each for each in profile.get("posixAccounts", ()) if each.get("operatingSystemType") != "WINDOWS"]
    names = [clean_line(str(each.get("username", "")), 64) for each in accounts]
    if wanted in names:
        return str(wanted)
    primary = [name for name, each in zip(names, accounts, strict=True) if each.get("primary")]
    return next(iter([*primary, *names]), "")


def _name_of(profile: Mapping[str, Any], key: str) -> str:
    for name, each in profile.get("sshPublicKeys", {}).items():
        if " ".join(str(each.get("key", "")).split()[:2]) == key:
            return quote(str(name), safe="")
    return ""
