"""What the real gcloud sends to create, show and delete a VM: recorded where it is installed, sent again where not."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from remote_runtime.demo.gcp_api.values import Exchange
from tests.support.clients.compute_http import call
from tests.support.faults.faulty_emulator import FaultyEmulator

COMMANDS = (
    "gcloud compute instances create my-l4 --zone=us-central1-b --machine-type=g2-standard-8"
    " --image-family=pytorch-2-9-cu129-ubuntu-2404-nvidia-580 --image-project=deeplearning-platform-release"
    " --boot-disk-size=100GB --boot-disk-type=pd-balanced --maintenance-policy=TERMINATE --no-address"
    " --labels=team=vision --tags=notebook --metadata=enable-guest-attributes=TRUE",
    "gcloud compute instances describe my-l4 --zone=us-central1-b",
    "gcloud compute machine-types list --filter=name=g2-standard-8",
    "gcloud compute disks snapshot my-l4 --zone=us-central1-b --snapshot-names=copy",
    "gcloud compute snapshots list",
    "gcloud compute instances delete my-l4 --zone=us-central1-b",
)
_FILE = Path(__file__).with_name("gcloud_requests.json")
_OPERATION = re.compile(r"operation-[0-9a-f-]+")
Recording = dict[str, Any]


def recorded(command: str, emulator: FaultyEmulator, exchanges: Sequence[Exchange]) -> Recording:
    """The requests of ``command``, without what changes from run to run: the address, names of operations."""
    requests = [
        {
            "method": each.method_id,
            "verb": each.http_method,
            "path": each.path,
            "query": dict(each.query),
            "body": each.body,
            "status": each.status,
        }
        for each in exchanges
    ]
    text = json.dumps(requests).replace(emulator.endpoint, "ENDPOINT/")
    return {"command": command, "requests": json.loads(_OPERATION.sub("OPERATION", text))}


def methods(recordings: Sequence[Recording]) -> list[tuple[str, list[tuple[str, int]]]]:
    return [
        (each["command"], [(request["method"], request["status"]) for request in each["requests"]])
        for each in recordings
    ]


def write(recordings: Sequence[Recording]) -> None:
    _FILE.write_text(json.dumps(recordings, indent=1) + "\n")


def read() -> list[Recording]:
    return list(json.loads(_FILE.read_text()))


def send(emulator: FaultyEmulator, request: Recording, operation: str) -> tuple[int, Any]:
    """The status and the answer. ``operation``: the name of the one that the last answer had."""
    text = json.dumps(request).replace("ENDPOINT/", emulator.endpoint).replace("OPERATION", operation)
    wanted = json.loads(text)
    return call(emulator, wanted["verb"], wanted["path"], wanted["body"], **wanted["query"])
