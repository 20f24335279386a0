"""OS Login's REST v1 methods, as far as remote-runtime and gcloud use them. Paths start at ``v1/users/``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from .os_login import RpcError, fingerprint, key_as_json, profile_as_json
from .state import Cloud
from .values import Json


@dataclass(frozen=True)
class OsLoginCall:
    email: str
    key: str
    query: Mapping[str, str]
    body: Json


OsLoginHandler = Callable[[Cloud, OsLoginCall], Json]


@dataclass(frozen=True)
class OsLoginMethod:
    """``id`` is that of the discovery document."""

    id: str
    http_method: str
    pattern: str
    handle: OsLoginHandler


def find_method(
    cloud: Cloud, http_method: str, path: str, query: Mapping[str, str], body: Json | None
) -> tuple[str, Callable[[], Json]]:
    """The method's id and a function that returns its answer. Both raise ``ApiError``."""
    for method in METHODS:
        match = re.fullmatch(method.pattern, path)
        if match and method.http_method == http_method:
            names = match.groupdict()
            call = OsLoginCall(names["email"], names.get("key", ""), query, body or {})
            return method.id, partial(_handle, cloud, method, call)
    raise RpcError(404, "NOT_FOUND", "Method not found.")


def _handle(cloud: Cloud, method: OsLoginMethod, call: OsLoginCall) -> Json:
    with cloud.changed:
        answer = method.handle(cloud, call)
        cloud.changed.notify_all()
    return answer


def _get_login_profile(cloud: Cloud, call: OsLoginCall) -> Json:
    return profile_as_json(cloud.os_login.user(call.email), call.query.get("projectId", ""))


def _import_ssh_public_key(cloud: Cloud, call: OsLoginCall) -> Json:
    project = call.query.get("projectId", "")
    if project:
        cloud.os_login.provision(call.email, project)
    if call.body.get("key"):
        cloud.os_login.import_key(call.email, call.body["key"], _expiry(call.body))
    return {"loginProfile": profile_as_json(cloud.os_login.user(call.email), project)}


def _get_key(cloud: Cloud, call: OsLoginCall) -> Json:
    cloud.os_login.key(call.email, call.key)
    return key_as_json(cloud.os_login.user(call.email), call.key)


def _patch_key(cloud: Cloud, call: OsLoginCall) -> Json:
    key = cloud.os_login.key(call.email, call.key)
    if call.query.get("updateMask") != "expirationTimeUsec" or fingerprint(key.key) != call.key:
        raise RpcError(400, "INVALID_ARGUMENT", "Only the expiration time can be updated.")
    key.expires_usec = _expiry(call.body)
    return key_as_json(cloud.os_login.user(call.email), call.key)


def _delete_key(cloud: Cloud, call: OsLoginCall) -> Json:
    cloud.os_login.key(call.email, call.key)
    del cloud.os_login.user(call.email).keys[call.key]
    return {}


def _expiry(body: Json) -> int | None:
    return int(body["expirationTimeUsec"]) if body.get("expirationTimeUsec") else None


_USER = r"v1/users/(?P<email>[^/:]+)"
_KEY = rf"{_USER}/sshPublicKeys/(?P<key>[^/]+)"

METHODS: tuple[OsLoginMethod, ...] = (
    OsLoginMethod("oslogin.users.getLoginProfile", "GET", f"{_USER}/loginProfile", _get_login_profile),
    OsLoginMethod("oslogin.users.importSshPublicKey", "POST", f"{_USER}:importSshPublicKey", _import_ssh_public_key),
    OsLoginMethod("oslogin.users.sshPublicKeys.get", "GET", _KEY, _get_key),
    OsLoginMethod("oslogin.users.sshPublicKeys.patch", "PATCH", _KEY, _patch_key),
    OsLoginMethod("oslogin.users.sshPublicKeys.delete", "DELETE", _KEY, _delete_key),
)
