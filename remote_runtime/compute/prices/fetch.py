"""Reads the Cloud Billing Catalog, page by page; only the rows that price VMs are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...core.callbacks import Progress
from ...core.deadline import Deadline
from ..client import gcloud_config
from ..client.rest import RestApi, open_rest
from . import price_list
from .price_list import PriceList
from .rows import CURRENCY, Row, parse_row

COMPUTE_ENGINE = "6F81-5844-456A"  # the id of the service, the same in every account
PAGE_SIZE = 5000


def current_prices(environ: Mapping[str, str], *, progress: Progress, deadline: Deadline) -> PriceList:
    """The list that was kept, else a new one, which is kept for a day. Raises ``CloudError``, ``DeadlinePassed``,
    ``Interrupted``."""
    kept = price_list.load(gcloud_config.endpoint(environ, gcloud_config.CLOUD_BILLING), environ)
    if kept is not None:
        return kept
    progress("Reading Google's price list")
    rest = open_rest(environ, gcloud_config.CLOUD_BILLING, deadline)
    prices = price_list.from_rows(rest.endpoint, _rows(rest))
    try:
        price_list.save(prices, environ)
    except OSError as error:
        progress(f"The price list is not kept: {error.strerror or error}")
    return prices


def _rows(rest: RestApi) -> Iterator[Row]:
    query = {"currencyCode": CURRENCY, "pageSize": str(PAGE_SIZE)}
    for page in rest.pages(f"v1/services/{COMPUTE_ENGINE}/skus", query, doing="read the price list"):
        skus = page.get("skus")
        for sku in skus if isinstance(skus, list) else ():
            row = parse_row(sku)
            if row is not None:
                yield row
