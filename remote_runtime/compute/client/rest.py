"""Requests to Google's REST APIs in JSON, with google-auth alone: Google's client library takes 1 to 2 s to import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from ...core.deadline import Deadline
from ...core.errors import CloudError
from ...core.fast_dataclass import fast_dataclass
from . import credentials, error_mapping, gcloud_config

REQUEST_TIMEOUT_S = 20.0
PAUSES_S = (0.25, 1.0)  # before another try of a request that the API could not answer
MAX_PAGES = 100
Json = dict[str, Any]
Query = Mapping[str, str | list[str]]  # a list: the parameter is repeated


@fast_dataclass(frozen=True)
class RestApi:
    """One API. ``endpoint``: without a final slash."""

    api: gcloud_config.ApiEndpoint
    endpoint: str
    identity: credentials.Identity
    deadline: Deadline

    def get(self, path: str, query: Query | None = None, *, doing: str) -> Json:
        """``doing`` completes "can't …". Raises ``CloudError``, ``NotFound`` among others, ``DeadlinePassed``,
        ``Interrupted``."""
        return self._request("GET", path, query or {}, None, doing)

    def post(self, path: str, body: Json, *, doing: str) -> Json:
        """Raises as ``get``."""
        return self._request("POST", path, {}, body, doing)

    def pages(self, path: str, query: Query | None = None, *, doing: str) -> Iterator[Json]:
        """Each page of a list. Raises as ``get``."""
        token, read = "", 0
        while read < MAX_PAGES:
            page = self.get(path, {**(query or {}), **({"pageToken": token} if token else {})}, doing=doing)
            yield page
            token, read = str(page.get("nextPageToken") or ""), read + 1
            if not token:
                return

    def _request(self, verb: str, path: str, query: Query, body: Json | None, doing: str) -> Json:
        for pause_s in (*PAUSES_S, None):
            self.deadline.check()
            try:
                return self._send(verb, path, query, body)
            except Exception as exc:
                if not error_mapping.is_client_error(exc) and not isinstance(exc, ValueError):
                    raise
                failure = error_mapping.map_error(
                    exc, endpoint=self.endpoint, doing=doing, project="", identity=self.identity,
                    api_name=self.api.name,
                )  # fmt: skip
                if failure.transient == "no" or pause_s is None or self.deadline.passed():
                    raise failure.error from None  # its message may contain the credentials
                self.deadline.sleep(pause_s)
        raise AssertionError("the last try returns or raises")

    def _send(self, verb: str, path: str, query: Query, body: Json | None) -> Json:
        from google.api_core.exceptions import from_http_response
        from google.auth.transport.requests import AuthorizedSession

        timeout_s = max(0.1, min(REQUEST_TIMEOUT_S, self.deadline.remaining_s()))
        session: Any = AuthorizedSession(self.identity.credentials)  # type: ignore[no-untyped-call]  # typed in part
        with session:
            answer = session.request(verb, f"{self.endpoint}/{path}", params=dict(query), json=body, timeout=timeout_s)
            if answer.status_code >= 400:
                raise from_http_response(answer)  # type: ignore[no-untyped-call]  # google-api-core types it in part
            found = answer.json()
        if not isinstance(found, dict):
            raise ValueError("the response is not a JSON object")
        return found


def open_rest(
    environ: Mapping[str, str],
    api: gcloud_config.ApiEndpoint,
    deadline: Deadline,
    identity: credentials.Identity | None = None,
) -> RestApi:
    """``identity``: credentials that are loaded already. Raises ``CloudError`` ``no-credentials``, also where there are
    none and the address is Google's own: nothing is sent then."""
    endpoint = gcloud_config.endpoint(environ, api)
    if identity is None:
        identity = credentials.load(environ, endpoint, api)
    elif not identity.is_anonymous:
        credentials.check_encrypted(endpoint, api)
    if identity.is_anonymous and endpoint == api.default:
        raise CloudError("no-credentials", "Not signed in to Google Cloud")
    return RestApi(api, endpoint, identity, deadline)


def compute_path(*parts: str) -> str:
    """A path of the Compute Engine API."""
    return "/".join(["compute/v1", *(quote(part, safe=":") for part in parts)])
