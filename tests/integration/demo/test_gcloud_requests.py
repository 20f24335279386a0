"""Requests of the real gcloud, recorded: CI has no gcloud."""

from __future__ import annotations

from tests.support.clients import gcloud_requests
from tests.support.clients.compute_http import emulated


def test_what_gcloud_sends_creates_shows_snapshots_and_deletes() -> None:
    operation = ""
    with emulated(project_metadata={"demo": {}}) as emulator:
        recordings = gcloud_requests.read()
        assert [each["command"] for each in recordings] == list(gcloud_requests.COMMANDS)
        for recording in recordings:
            for request in recording["requests"]:
                status, answer = gcloud_requests.send(emulator, request, operation)
                assert (recording["command"], status) == (recording["command"], request["status"]), answer
                operation = answer["name"] if answer["kind"] == "compute#operation" else operation
            if "describe" in recording["command"]:
                assert (answer["status"], answer["labels"]) == ("RUNNING", {"team": "vision"})
        sent = [exchange.method_id for exchange in emulator.exchanges]
        assert {"compute.instances.insert", "compute.disks.createSnapshot", "compute.instances.delete"} <= set(sent)
        assert (emulator.cloud.instances, [each.name for each in emulator.cloud.snapshots]) == ([], ["copy"])
