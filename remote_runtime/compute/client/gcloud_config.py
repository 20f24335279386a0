"""Reads API addresses, project, zone and account from Google's environment variables and gcloud's configuration."""

from __future__ import annotations

import configparser
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ...core.errors import CloudError
from ...core.fast_dataclass import fast_dataclass

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._:-]{0,98}[a-z0-9])?", re.ASCII)
_API_PATH = re.compile(r"(/compute)?/(v1|beta|alpha)/?$")
# Without what URL parsers read in different ways: user names, backslashes, control characters.
_URL = re.compile(
    r"(?i)(?P<scheme>[a-z]+)://(?:\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)(?::\d{1,5})?(?:/[\w.~/%:-]*)?",
    re.ASCII,
)


@fast_dataclass(frozen=True)
class ApiEndpoint:
    """A Google API: its name, its address, and the variable of gcloud that overrides the address."""

    name: str
    default: str
    variable: str


COMPUTE = ApiEndpoint("Compute Engine API", "https://compute.googleapis.com", "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE")
RESOURCE_MANAGER = ApiEndpoint(
    "Resource Manager API",
    "https://cloudresourcemanager.googleapis.com",
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER",
)
OS_LOGIN = ApiEndpoint("OS Login API", "https://oslogin.googleapis.com", "CLOUDSDK_API_ENDPOINT_OVERRIDES_OSLOGIN")

IAM_CREDENTIALS = ApiEndpoint(
    "IAM Service Account Credentials API",
    "https://iamcredentials.googleapis.com",
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS",
)
CLOUD_BILLING = ApiEndpoint(
    "Cloud Billing API", "https://cloudbilling.googleapis.com", "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING"
)
SERVICE_USAGE = ApiEndpoint(
    "Service Usage API", "https://serviceusage.googleapis.com", "CLOUDSDK_API_ENDPOINT_OVERRIDES_SERVICEUSAGE"
)
API_ENDPOINTS = (COMPUTE, RESOURCE_MANAGER, OS_LOGIN, IAM_CREDENTIALS, CLOUD_BILLING, SERVICE_USAGE)


@fast_dataclass(frozen=True)
class SourcedValue:
    """A value and its source, in words that follow "from"."""

    value: str
    source: str


def endpoint(environ: Mapping[str, str], api: ApiEndpoint = COMPUTE) -> str:
    """Scheme, host, port and path prefix of the API, without ``/compute/v1/`` and a final slash. The variable may have
    the form ``…/compute/v1/``, which gcloud requires, or name the origin only."""
    url = environ.get(api.variable, "").strip()
    if not url:
        return api.default
    if not is_url(url, "http", "https"):
        raise CloudError(
            "cloud-unreachable",
            f"Invalid address of the {api.name}",
            # The value is not shown: it may contain a password or a key.
            f"{api.variable} {'has a user name in it' if '@' in url else 'is not SCHEME://HOST[:PORT][/PATH]'}",
            "Set it to a URL such as http://127.0.0.1:PORT/compute/v1/, or unset it",
        )
    parts = urlsplit(url)
    return _API_PATH.sub("", f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}").rstrip("/")


def has_no_credentials(environ: Mapping[str, str]) -> bool:
    """Whether nothing is to be sent with credentials, as to an emulator."""
    return environ.get("CLOUDSDK_AUTH_DISABLE_CREDENTIALS", "").strip().lower() in ("true", "1", "yes", "on")


def has_price_list(environ: Mapping[str, str]) -> bool:
    """Whether Google's price list can be read; not without credentials, unless an emulator has one."""
    return not has_no_credentials(environ) or bool(environ.get(CLOUD_BILLING.variable))


def is_url(text: str, *schemes: str) -> bool:
    """True for ``SCHEME://HOST[:PORT][/PATH]`` that every URL parser reads in the same way."""
    found = _URL.fullmatch(text)
    try:
        return bool(found and found["scheme"].lower() in schemes and urlsplit(text).port != 0)
    except ValueError:  # no IPv6 address, or a port above 65535
        return False


def may_carry_credentials(url: str) -> bool:
    """True if the address is encrypted or on this computer."""
    try:
        return urlsplit(url).scheme in ("https", "wss") or is_on_loopback(url)
    except ValueError:
        return False


def is_on_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def project(from_profile: str | None, environ: Mapping[str, str], of_credentials: str | None) -> SourcedValue:
    """The project to search; the credentials' project is used last. Raises ``CloudError`` ``no-project``."""
    found = _first(
        (from_profile, "the profile"),
        *((environ.get(name), name) for name in ("GOOGLE_CLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT")),
        (_gcloud_property(environ, "core", "project"), "gcloud's configuration"),
        (of_credentials, "the credentials"),
    )
    if found is None:
        raise CloudError(
            "no-project",
            "No Google Cloud project is set",
            "the profile, the environment, gcloud's configuration and the credentials name no project",
            "Run `gcloud config set project PROJECT_ID`, or set `target.project` in the profile",
        )
    return _require_name(found, "project ID", "`target.project`", "gcloud config set project PROJECT_ID")


def zone(from_profile: str | None, environ: Mapping[str, str]) -> SourcedValue | None:
    """The zone to search first; None for all. Raises ``CloudError`` ``no-project`` if the name is invalid."""
    found = _first(
        (from_profile, "the profile"),
        (environ.get("CLOUDSDK_COMPUTE_ZONE"), "CLOUDSDK_COMPUTE_ZONE"),
        (_gcloud_property(environ, "compute", "zone"), "gcloud's configuration"),
    )
    return found and _require_name(found, "zone", "`target.zone`", "gcloud config set compute/zone ZONE")


def account(environ: Mapping[str, str]) -> str | None:
    """gcloud's account."""
    found = _first((environ.get("CLOUDSDK_CORE_ACCOUNT"), ""), (_gcloud_property(environ, "core", "account"), ""))
    return found.value if found else None


def impersonated_accounts(environ: Mapping[str, str]) -> tuple[str, ...]:
    """gcloud's service accounts to impersonate: the last one, through those before it."""
    wanted = environ.get("CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT") or _gcloud_property(
        environ, "auth", "impersonate_service_account"
    )
    return tuple(name.strip() for name in (wanted or "").split(",") if name.strip())


def _first(*candidates: tuple[str | None, str]) -> SourcedValue | None:
    """The first value that is not blank."""
    return next((SourcedValue(value.strip(), source) for value, source in candidates if value and value.strip()), None)


def _require_name(found: SourcedValue, what: str, key: str, command: str) -> SourcedValue:
    """``found`` if it can be part of a request. An invalid value is not shown: it may be a secret."""
    if _NAME.fullmatch(found.value):
        return found
    is_variable = found.source.isupper()
    hint = f"Set {found.source} to a {what}, or unset it" if is_variable else f"Set {key} in the profile"
    if found.source == "gcloud's configuration":
        hint = f"Run `{command}`, or set {key} in the profile"
    raise CloudError("no-project", f"Invalid {what}", f"{found.source} has a value that is not a {what}", hint)


def _gcloud_property(environ: Mapping[str, str], section: str, key: str) -> str | None:
    """A property of gcloud's active configuration; None if it is not set or cannot be read."""
    folder = gcloud_config_dir(environ)
    name = environ.get("CLOUDSDK_ACTIVE_CONFIG_NAME") or _read(folder / "active_config").strip() or "default"
    properties = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        properties.read_string(_read(folder / "configurations" / f"config_{name}"))
    except configparser.Error:
        return None
    return properties.get(section, key, fallback=None)


def gcloud_config_dir(environ: Mapping[str, str]) -> Path:
    if environ.get("CLOUDSDK_CONFIG"):
        return Path(environ["CLOUDSDK_CONFIG"])
    if os.name == "nt":
        return Path(environ.get("APPDATA", "C:/")) / "gcloud"
    return Path(os.path.expanduser(environ.get("HOME") or "~")) / ".config" / "gcloud"


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except (OSError, ValueError):  # a name with a NUL, from a file in UTF-16
        return ""
