"""Requests to the Compute Engine emulator by plain HTTP, each held against Google's document."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from remote_runtime.demo.gcp_api.values import Delays, Vm
from tests.support.environment import google_discovery
from tests.support.faults.faulty_emulator import FaultyEmulator

ZONE = "us-central1-a"
QUICK = Delays(
    queue_s=0.0, start_s=0.02, stop_s=0.02, insert_s=0.02, delete_s=0.01, metadata_s=0.0, boot_s=0.01, max_wait_s=20
)


@contextmanager
def emulated(*vms: Vm, delays: Delays = QUICK, **options: Any) -> Iterator[FaultyEmulator]:
    """An emulator whose every exchange is held against Google's document when the test ends."""
    with FaultyEmulator(vms, delays=delays, **options) as emulator:
        yield emulator
    found = [complaint for exchange in emulator.exchanges for complaint in google_discovery.complaints(exchange)]
    assert found == []


def call(emulator: FaultyEmulator, http_method: str, path: str, body: Any = None, **query: str) -> tuple[int, Any]:
    url = urlsplit(emulator.endpoint)
    connection = http.client.HTTPConnection("127.0.0.1", url.port or 0, timeout=20)
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        target = f"{url.path}{quote(path)}?{urlencode(query)}" if query else f"{url.path}{quote(path)}"
        connection.request(http_method, target, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def finished(emulator: FaultyEmulator, operation: Any) -> Any:
    path = operation["selfLink"].partition("/compute/v1/")[2]
    status, answer = call(emulator, "POST", f"{path}/wait")
    assert (status, answer["status"]) == (200, "DONE")
    return answer
