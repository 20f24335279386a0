"""OS Login: POSIX accounts and SSH keys of Google accounts, and the REST methods that remote-runtime and gcloud use.

Paths start at ``v1/users/``.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from .api_errors import RpcError
from .values import Json


@dataclass
class SshKey:
    """``key``: as it was imported. ``expires_usec``: None for one that does not expire."""

    key: str
    expires_usec: int | None = None

    def is_valid(self, now: float) -> bool:
        return self.expires_usec is None or self.expires_usec > now * 1e6


@dataclass(frozen=True)
class PosixAccount:
    username: str
    project: str
    primary: bool = True


@dataclass
class OsLoginUser:
    """``keys``: by fingerprint. ``may_log_in``: has compute.instances.osLogin."""

    email: str
    accounts: list[PosixAccount] = field(default_factory=list)
    keys: dict[str, SshKey] = field(default_factory=dict)
    may_log_in: bool = True


class OsLogin:
    """Every user exists, at first with neither account nor key. Guarded by ``changed``, the cloud's lock."""

    def __init__(self, changed: threading.Condition) -> None:
        self.changed = changed
        self.users: dict[str, OsLoginUser] = {}

    def user(self, email: str) -> OsLoginUser:
        return self.users.setdefault(email, OsLoginUser(email))

    def provision(self, email: str, project: str) -> None:
        """An account in ``project``, named after the address, if there is none."""
        user = self.user(email)
        if not any(account.project == project for account in user.accounts):
            username = re.sub(r"[^a-z0-9]", "_", email.lower())[:32]
            user.accounts.append(PosixAccount(username, project))

    def import_key(self, email: str, key: str, expires_usec: int | None) -> None:
        """A key that exists gets the new expiry. Raises ``ApiError`` 400."""
        if expires_usec is not None and expires_usec <= time.time() * 1e6:
            raise _invalid("The expiration time must be in the future.")
        self.user(email).keys[fingerprint(key)] = SshKey(key, expires_usec)

    def key(self, email: str, name: str) -> SshKey:
        """Raises ``ApiError`` 404."""
        found = self.user(email).keys.get(name)
        if found is None:
            raise RpcError(404, "NOT_FOUND", "The SSH key was not found.")
        return found


def fingerprint(key: str) -> str:
    """Raises ``ApiError`` 400 if ``key`` is no public key."""
    fields = key.split()
    try:
        blob = base64.b64decode(fields[1], validate=True)
    except (IndexError, ValueError):
        raise _invalid("Invalid SSH public key.") from None
    if blob[4 : 4 + len(fields[0])] != fields[0].encode():
        raise _invalid("Invalid SSH public key.")
    return hashlib.sha256(blob).hexdigest()


def profile_as_json(user: OsLoginUser, project: str) -> Json:
    """The accounts of ``project``, or of all projects where that is empty."""
    answer: Json = {"name": _number(user.email)}
    accounts = [_account_as_json(user, each) for each in user.accounts if project in ("", each.project)]
    keys = {name: key_as_json(user, name) for name in user.keys}
    answer |= {"posixAccounts": accounts} if accounts else {}
    answer |= {"sshPublicKeys": keys} if keys else {}
    return answer


def key_as_json(user: OsLoginUser, name: str) -> Json:
    key = user.keys[name]
    answer: Json = {
        "key": key.key,
        "fingerprint": name,
        "name": f"users/{user.email}/sshPublicKeys/{name}",
    }
    return answer | ({} if key.expires_usec is None else {"expirationTimeUsec": str(key.expires_usec)})


def _account_as_json(user: OsLoginUser, account: PosixAccount) -> Json:
    uid = str(1_000_000_000 + zlib.crc32(f"{user.email}{account.username}".encode()))
    return {
        "primary": account.primary,
        "username": account.username,
        "uid": uid,
        "gid": uid,
        "homeDirectory": f"/home/{account.username}",
        "shell": "/bin/bash",
        "operatingSystemType": "LINUX",
        "accountId": account.project,
        "name": f"users/{user.email}/projects/{account.project}",
    }


def _number(email: str) -> str:
    return str(10**20 + zlib.crc32(email.encode()))


def _invalid(message: str) -> RpcError:
    return RpcError(400, "INVALID_ARGUMENT", message)


# ── REST v1 ──


@dataclass(frozen=True)
class OsLoginCall:
    email: str
    key: str
    query: Mapping[str, str]
    body: Json


OsLoginHandler = Callable[[OsLogin, OsLoginCall], Json]


@dataclass(frozen=True)
class OsLoginMethod:
    """``id`` is that of the discovery document."""

    id: str
    http_method: str
    pattern: str
    handle: OsLoginHandler


def find_method(
    os_login: OsLogin, http_method: str, path: str, query: Mapping[str, str], body: Json | None
) -> tuple[str, Callable[[], Json]]:
    """The method's id and a function that returns its answer. Both raise ``ApiError``."""
    for method in METHODS:
        match = re.fullmatch(method.pattern, path)
        if match and method.http_method == http_method:
            names = match.groupdict()
            call = OsLoginCall(names["email"], names.get("key", ""), query, body or {})
            return method.id, partial(_handle, os_login, method, call)
    raise RpcError(404, "NOT_FOUND", "Method not found.")


def _handle(os_login: OsLogin, method: OsLoginMethod, call: OsLoginCall) -> Json:
    with os_login.changed:
        answer = method.handle(os_login, call)
        os_login.changed.notify_all()
    return answer


def _get_login_profile(os_login: OsLogin, call: OsLoginCall) -> Json:
    return profile_as_json(os_login.user(call.email), call.query.get("projectId", ""))


def _import_ssh_public_key(os_login: OsLogin, call: OsLoginCall) -> Json:
    project = call.query.get("projectId", "")
    if project:
        os_login.provision(call.email, project)
    if call.body.get("key"):
        os_login.import_key(call.email, call.body["key"], _expiry(call.body))
    return {"loginProfile": profile_as_json(os_login.user(call.email), project)}


def _get_key(os_login: OsLogin, call: OsLoginCall) -> Json:
    os_login.key(call.email, call.key)
    return key_as_json(os_login.user(call.email), call.key)


def _patch_key(os_login: OsLogin, call: OsLoginCall) -> Json:
    key = os_login.key(call.email, call.key)
    if call.query.get("updateMask") != "expirationTimeUsec" or fingerprint(key.key) != call.key:
        raise RpcError(400, "INVALID_ARGUMENT", "Only the expiration time can be updated.")
    key.expires_usec = _expiry(call.body)
    return key_as_json(os_login.user(call.email), call.key)


def _delete_key(os_login: OsLogin, call: OsLoginCall) -> Json:
    os_login.key(call.email, call.key)
    del os_login.user(call.email).keys[call.key]
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
