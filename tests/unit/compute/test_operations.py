"""What Compute Engine says in an operation that failed."""

from __future__ import annotations

import pytest
from google.cloud import compute_v1

from remote_runtime.compute.client.api import Api, open_api
from remote_runtime.compute.instances import operations
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import CloudError
from remote_runtime.core.model import Instance

GPU_BOX = Instance(kind="gce", name="gpu-box", zone="us-central1-a", project="demo")


def api() -> Api:
    environ = {"CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true"}
    answer = open_api(environ, progress=lambda text: None, deadline=Deadline(5))
    answer.project = "demo"
    return answer


def explained(code: str, message: str = "", **details: str) -> CloudError:
    error = compute_v1.Errors(code=code, message=message)
    if details:
        error.error_details.append(compute_v1.ErrorDetails(error_info=compute_v1.ErrorInfo(metadatas=details)))
    done = compute_v1.Operation(status=compute_v1.Operation.Status.DONE, error=compute_v1.Error(errors=[error]))
    with pytest.raises(CloudError) as caught:
        operations.wait_until_done(api(), "start", GPU_BOX, done, lambda: None)
    return caught.value


def test_a_zone_without_room_names_the_zones_that_google_names() -> None:
    error = explained("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", zonesAvailable="us-central1-b,us-central1-f")
    assert error.code == "no-capacity"
    assert error.what == "Zone us-central1-a has no capacity for gpu-box"
    assert error.hint == "Try again later. Zones with capacity: us-central1-b,us-central1-f"


@pytest.mark.parametrize("zones", ["", "$(rm -rf ~)", "us-central1-b\x1b[31m"])
def test_zones_that_cannot_be_such_are_not_repeated(zones: str) -> None:
    error = explained("ZONE_RESOURCE_POOL_EXHAUSTED", zonesAvailable=zones)
    assert error.hint.endswith("`gcloud compute zones list --filter=region:us-central1 --project=demo`")


def test_a_missing_permission_inside_an_operation_is_permission_denied() -> None:
    error = explained("PERMISSIONS_ERROR", "Required 'iam.serviceAccounts.actAs' permission\x1b[2J")
    assert (error.code, error.why) == (
        "permission-denied",
        "PERMISSIONS_ERROR: Required 'iam.serviceAccounts.actAs' permission",
    )
