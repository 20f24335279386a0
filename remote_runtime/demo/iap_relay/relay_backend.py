"""Which machine the relay leads to: the emulated instances, whose computers are all on this one."""

from __future__ import annotations

from collections.abc import Callable

from ..gcp_api.api_errors import ApiError
from ..gcp_api.state import Cloud
from .protocol import RelayRefusal, TunnelRequest

PERMISSION = "iap.tunnelInstances.accessViaIAP"


def instance_finder(cloud: Cloud) -> Callable[[TunnelRequest], tuple[str, int]]:
    """For ``Relay``: the port that is asked for on 127.0.0.1, if the instance runs and the caller may."""

    def find_address(request: TunnelRequest) -> tuple[str, int]:
        query = request.query
        if not cloud.permits(PERMISSION):
            raise RelayRefusal(4033, "not authorized")
        try:
            instance = cloud.instance(query["project"], query["zone"], query["instance"])
        except ApiError as error:
            raise RelayRefusal(4047, "Failed to lookup instance") from error
        if instance.status != "RUNNING" or query["interface"] != "nic0":
            raise RelayRefusal(4047, "Failed to lookup instance")
        return "127.0.0.1", int(query["port"])

    return find_address
