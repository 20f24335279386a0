"""The prices of the parts of VMs, by region, and their file: it is kept for a day, because the catalogue has
thousands of rows."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...core.fast_dataclass import fast_dataclass
from ...core.private_file import ensure_private_dir, read_private, write_private
from .rows import Row

FILE_NAME = "prices.json"
VERSION = 1
MAX_AGE_S = 86400.0
VARIABLE = "REMOTE_RUNTIME_CACHE_DIR"

Amounts = Mapping[str, Mapping[str, tuple[float | None, ...]]]


@fast_dataclass(frozen=True)
class PriceList:
    """``amounts``: region → ``USE KEY`` → the amount of each row that matches (``rows.Row``). ``endpoint``: whose they
    are. ``fetched_at``: seconds since the epoch."""

    endpoint: str
    fetched_at: float
    amounts: Amounts

    def only_amount(self, region: str, use: str, key: str) -> float | None:
        """The price of the one row that matches; None for none, for several, and for a row without a price."""
        found = self.amounts.get(region, {}).get(f"{use} {key}", ())
        return found[0] if len(found) == 1 else None

    @property
    def is_fresh(self) -> bool:
        return 0 <= time.time() - self.fetched_at < MAX_AGE_S


def from_rows(endpoint: str, rows: Iterable[Row]) -> PriceList:
    amounts: dict[str, dict[str, tuple[float | None, ...]]] = {}
    for row in rows:
        for region in row.regions:
            of_region = amounts.setdefault(region, {})
            name = f"{row.use} {row.key}"
            of_region[name] = (*of_region.get(name, ()), row.amount)
    return PriceList(endpoint, time.time(), amounts)


def load(endpoint: str, environ: Mapping[str, str]) -> PriceList | None:
    """The list of ``endpoint`` that was kept, if it is fresh; None also for a file that cannot be read."""
    try:
        document = json.loads(read_private(_path(environ)))
        if document["version"] != VERSION:
            return None
        amounts = {
            str(region): {str(name): tuple(found) for name, found in keys.items()}
            for region, keys in document["amounts"].items()
        }
        kept = PriceList(str(document["endpoint"]), float(document["fetched_at"]), amounts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # it is fetched again
    return kept if kept.endpoint == endpoint and kept.is_fresh else None


def save(prices: PriceList, environ: Mapping[str, str]) -> None:
    """Raises ``OSError``."""
    path = _path(environ)
    ensure_private_dir(path.parent)
    document: dict[str, Any] = {"version": VERSION, **vars(prices)}
    write_private(path, json.dumps(document, separators=(",", ":")).encode())


def _path(environ: Mapping[str, str]) -> Path:
    override = environ.get(VARIABLE)
    if override:
        return Path(override).expanduser().absolute() / FILE_NAME
    import platformdirs

    return platformdirs.user_cache_path("remote-runtime", appauthor=False) / FILE_NAME
