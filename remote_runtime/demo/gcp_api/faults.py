"""What a request or an operation can fail with, in the API's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .api_errors import ApiError
from .offers import region_of
from .values import Json

_NO_CAPACITY = (
    "The zone 'projects/{project}/zones/{zone}' does not have enough resources available to fulfill the request.  "
)
_ADVICE = "Try a different zone, or try again later."
_UNAVAILABLE = "SERVICE UNAVAILABLE"
# code → (HTTP status, HTTP message, sentence)
_OPERATION_ERRORS = {
    "ZONE_RESOURCE_POOL_EXHAUSTED": (503, _UNAVAILABLE, f"{_NO_CAPACITY}{_ADVICE}"),
    "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS": (503, _UNAVAILABLE, f"{_NO_CAPACITY}'(resource type:compute)'."),
    "STOCKOUT": (503, _UNAVAILABLE, f"{_NO_CAPACITY}{_ADVICE}"),
    "QUOTA_EXCEEDED": (403, "FORBIDDEN", "Quota 'NVIDIA_L4_GPUS' exceeded.  Limit: 1.0 in region {region}."),
    "INTERNAL_ERROR": (500, "INTERNAL SERVER ERROR", "Internal error. Please try again or contact Google Support."),
    "OPERATION_CANCELED_BY_USER": (400, "BAD REQUEST", "Operation was canceled by the user."),
}  # fmt: skip


@dataclass(frozen=True)
class OperationFault:
    """The error of an operation, e.g. ``ZONE_RESOURCE_POOL_EXHAUSTED`` or ``QUOTA_EXCEEDED``.

    An empty ``message`` gives Google's usual sentence. ``after_running``: the instance runs by then, and remains.
    """

    code: str
    message: str = ""
    details: Mapping[str, Json] = field(default_factory=dict)
    after_running: bool = False

    def as_json(self, project: str, zone: str) -> Json:
        """The properties that it adds to an operation."""
        status, phrase, sentence = _OPERATION_ERRORS.get(self.code, (400, "BAD REQUEST", self.code))
        message = self.message or sentence.format(project=project, zone=zone, region=region_of(zone))
        error: Json = {"code": self.code, "message": message}
        details = self.details or (_capacity_details(zone) if is_capacity(self.code) else {})
        if details:
            error["errorDetails"] = [{kind: value} for kind, value in details.items()]
        return {"error": {"errors": [error]}, "httpErrorStatusCode": status, "httpErrorMessage": phrase}


@dataclass(frozen=True)
class RequestFault:
    """The error that a request is answered with: an HTTP status and Google's reason (``backendError``)."""

    status: int
    reason: str = "backendError"
    message: str = "The service is currently unavailable."

    def as_error(self) -> ApiError:
        return ApiError(self.status, self.reason, self.message)


Fault = OperationFault | RequestFault


def is_capacity(code: str) -> bool:
    return code.startswith(("ZONE_RESOURCE_POOL_EXHAUSTED", "STOCKOUT"))


def no_capacity(form: str, project: str, zone: str) -> Fault:
    """``form``: the code of the operation's error, or ``503``: the request is refused with that reason."""
    if form != "503":
        return OperationFault(form)
    code = "ZONE_RESOURCE_POOL_EXHAUSTED"
    return RequestFault(503, code, _OPERATION_ERRORS[code][2].format(project=project, zone=zone))


def _capacity_details(zone: str) -> dict[str, Json]:
    link = {
        "description": "Troubleshooting documentation",
        "url": "https://cloud.google.com/compute/docs/resource-error",
    }
    return {
        "help": {"links": [link]},
        "localizedMessage": {
            "locale": "en-US",
            "message": f"The VM instance is currently unavailable in the {zone} zone.",
        },
        "errorInfo": {
            "reason": "resource_availability",
            "domain": "compute.googleapis.com",
            "metadatas": {"attachment": "", "zone": zone, "zonesAvailable": ""},
        },
    }
