"""The Cloud Billing Catalog over HTTP, with rows of a test's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from remote_runtime.demo.gcp_api.api_errors import ApiError
from remote_runtime.demo.gcp_api.http_server import LoopbackServer

PATH = "v1/services/6F81-5844-456A/skus"


@dataclass
class BillingCatalogue:
    """``page_size``: at most so many rows a page, whatever is asked for. ``refusal``: the answer to the next requests
    instead. ``queries``: of each request."""

    skus: Sequence[Any]
    page_size: int = 5000
    refusal: ApiError | None = None
    queries: list[Mapping[str, str]] = field(default_factory=list)
    root: str = ""

    @property
    def environ(self) -> dict[str, str]:
        return {
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING": f"{self.root}/",
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        }

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Any) -> tuple[int, Any]:
        self.queries.append(query)
        refusal = self.refusal
        if refusal is not None:
            return refusal.status, refusal.as_json()
        if (method, path) != ("GET", PATH):
            return 404, ApiError(404, "notFound", "not found").as_json()
        first, size = int(query.get("pageToken", "0")), min(self.page_size, int(query.get("pageSize", "5000")))
        more = str(first + size) if first + size < len(self.skus) else ""
        return 200, {"skus": list(self.skus[first : first + size]), "nextPageToken": more}


@contextmanager
def billing_catalogue(skus: Sequence[Any], **options: Any) -> Iterator[BillingCatalogue]:
    catalogue = BillingCatalogue(skus, **options)
    server = LoopbackServer("/billing", catalogue.answer)
    catalogue.root = f"http://127.0.0.1:{server.port}/billing"
    server.start()
    try:
        yield catalogue
    finally:
        server.close()
