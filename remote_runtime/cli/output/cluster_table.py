"""The workers of clusters, below the table of `status`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...core.sanitize import clean_line
from . import format
from .console import MAX_CHARS, fold, table, width


def cluster_tables(runtimes: Sequence[Mapping[str, Any]]) -> str:
    """Empty if no running runtime has a cluster."""
    return "\n\n".join("\n".join(_lines(each)) for each in runtimes if each.get("cluster") and each["state"] != "down")


def _lines(runtime: Mapping[str, Any]) -> Iterator[str]:
    cluster = runtime["cluster"]
    workers = [each for each in cluster["workers"] if each["state"] != "removed"]
    rows = [_row(each) for each in workers]
    yield table(("WORKER", "STATE", "THREADS", "MEMORY", "TASKS", "MACHINE"), rows, max_columns=width())
    joined = sum(each["state"] == "joined" for each in workers)
    yield f"  {runtime['name']}: {joined} of {len(workers)} workers joined; Dask's scheduler is {cluster['state']}"
    if cluster["why"]:
        yield from fold(f"  {clean_line(cluster['why'], MAX_CHARS)}")
    for each in workers:
        if each["why"]:
            yield from fold(f"  {each['name']}: {clean_line(each['why'], MAX_CHARS)}")


def _row(worker: Mapping[str, Any]) -> tuple[str, ...]:
    is_there = worker["state"] == "joined"
    values = (str(worker["threads"]), format.size(worker["memory"]), str(worker["tasks"])) if is_there else ("", "", "")
    return (worker["name"], worker["state"], *values, clean_line(worker["host"] or "", 80))
