"""Runs in Dask's worker (its option ``--preload``): closes the HTTP server, which has neither TLS nor a login."""

from __future__ import annotations

from typing import Any


async def dask_setup(worker: Any) -> None:
    worker.http_server.stop()
