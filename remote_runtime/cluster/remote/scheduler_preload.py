"""Runs in Dask's scheduler (its option ``--preload``): writes who has joined to a file beside this one.

The HTTP server has neither TLS nor a login, so it is closed.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

DIRECTORY = ""  # filled in where it is written
REPORT = "report.json"
INTERVAL_S = 0.5


async def dask_setup(scheduler: Any) -> None:
    scheduler.http_server.stop()
    scheduler.remote_runtime_report = asyncio.ensure_future(report(scheduler))


async def report(scheduler: Any) -> None:
    written: Any = None
    while True:
        workers = [describe(each) for each in list(scheduler.workers.values())]
        if workers != written:
            path = os.path.join(DIRECTORY, REPORT)
            with open(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(workers, file)
            os.replace(path + ".new", path)
            written = workers
        await asyncio.sleep(INTERVAL_S)


def describe(worker: Any) -> dict[str, Any]:
    return {
        "name": str(worker.name),
        "address": worker.address,
        "threads": worker.nthreads,
        "memory": int(worker.memory_limit or 0),
        "tasks": len(worker.processing),
    }
