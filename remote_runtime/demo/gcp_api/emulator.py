"""Compute Engine over HTTP on a loopback port: for the demo machine, and for tests of what talks to Compute Engine."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType

from . import methods, os_login_methods, resource_manager
from .api_errors import ApiError
from .http_server import LoopbackServer
from .state import Cloud
from .values import Delays, Exchange, Json, RequestFault, Vm


class ComputeEmulator:
    """Emulated projects behind ``endpoint``, until the ``with`` block ends.

        with ComputeEmulator(instances=[Vm("gpu-box", labels={"team": "vision"})]) as emulator:
            InstancesClient(credentials=AnonymousCredentials(), client_options={"api_endpoint": emulator.root})
            # gcloud: CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE=emulator.endpoint CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true

    ``endpoint`` ends with ``/compute/v1/`` and is what gcloud and ``machine.json`` use; ``root`` is the part before.
    OS Login is there too: CLOUDSDK_API_ENDPOINT_OVERRIDES_OSLOGIN=emulator.os_login_endpoint.
    A project exists if a ``Vm`` or ``project_metadata`` names it. A ``Vm`` is TERMINATED unless it says otherwise, and
    guest attributes are on unless its ``metadata`` is given.

    Switches, to be set at any time:

    - ``cloud.fail_next["start"] = OperationFault("ZONE_RESOURCE_POOL_EXHAUSTED")``: the next start fails, in its
      operation (``QUOTA_EXCEEDED``, or any code with ``message``; verbs: start stop suspend resume reset setMetadata).
    - ``forbidden_permissions.add("compute.instances.start")``: 403 for what needs it.
    - ``fail_requests.append(RequestFault(503))``: the next request, whatever it asks, is answered so.
    - ``cloud.refusals["stop"] = RequestFault(400, "invalid", "…")``: so is each stop, until that is taken away.
    - ``latency_s = 0.5``: every answer comes so much later.
    - ``cloud.set_status("gpu-box", "TERMINATED", after_s=0.2)``: another hand changes it; any of Google's statuses.
    - ``cloud.preempt("gpu-box")``: Compute Engine takes a Spot VM (``Vm(spot=True)``) back.
    - ``cloud.firewalls["demo"]``, ``cloud.firewall_policies``: the rules, in Google's JSON (``firewalls.rule``).
    - ``Vm(boot_log=serial_console.PANIC)``: a boot that goes wrong.
    - ``Vm(local_ssds=1)``: stop and suspend want ``discardLocalSsd``. ``cloud.unreachable_zones.add("us-east1-b")``.
    - ``cloud.meddle_metadata = 2``: the next two setMetadata lose the race to another writer (412).
    - ``Vm(host_keys_after_s=…)``, ``Vm(metadata={})``: guest attributes late, or off.
    - ``Vm(authorize=…, authorize_after_s=…)``: whom the machine lets in, told late.
    - ``cloud.os_login.person("me@example.com").may_log_in = False``: the role that OS Login asks for is missing.
    - ``Delays(start_s=…, wait_limit_s=…)`` as ``delays``: slow operations; ``wait`` that answers before DONE.

    ``exchanges`` keeps every request with its answer, in order. ``cloud.instances`` shows the live state.
    """

    def __init__(
        self,
        instances: Iterable[Vm] = (),
        *,
        project_metadata: Mapping[str, Mapping[str, str]] | None = None,
        delays: Delays | None = None,
        prefix: str | None = None,
        on_shutdown: Callable[[], None] | None = None,
    ) -> None:
        self.cloud = Cloud(instances, project_metadata or {}, delays or Delays())
        self.forbidden_permissions = self.cloud.forbidden_permissions
        self.fail_requests: list[RequestFault] = []
        self.latency_s = 0.0
        self.exchanges: list[Exchange] = []
        self._closed = threading.Event()
        self._prefix = f"/{secrets.token_urlsafe(24) if prefix is None else prefix}"
        self._on_shutdown = on_shutdown
        self._server = LoopbackServer(self._prefix, self._handle)

    def __enter__(self) -> ComputeEmulator:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed.set()
        self.cloud.close()
        self._server.close()

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self._server.port}{self._prefix}"

    @property
    def endpoint(self) -> str:
        return f"{self.root}/compute/v1/"

    @property
    def os_login_endpoint(self) -> str:
        return f"{self.root}/"

    @property
    def alive(self) -> bool:
        return self._server.alive

    def _handle(self, http_method: str, path: str, query: Mapping[str, str], body: Json | None) -> tuple[int, Json]:
        if (http_method, path) == ("POST", "shutdown") and self._on_shutdown is not None:
            self._on_shutdown()
            return 200, {}
        is_os_login = path.startswith("v1/users/")
        path = path.removeprefix("compute/v1/")
        self._closed.wait(self.latency_s)
        if (http_method, path) == ("GET", resource_manager.PATH):
            return self._list_projects()
        method_id = ""
        try:
            if self.fail_requests:
                fault = self.fail_requests.pop(0)
                raise ApiError(fault.status, fault.reason, fault.message)
            if is_os_login:
                method_id, answer = os_login_methods.handle(self.cloud, http_method, path, query, body)
            else:
                method, call = methods.find_method(http_method, path, query, body)
                method_id = call.method_id
                answer = methods.handle(self.cloud, method, call)
            status = 200
        except ApiError as error:
            status, answer = error.status, error.as_json()
        self.exchanges.append(Exchange(http_method, path, dict(query), body, status, answer, method_id))
        return status, answer

    def _list_projects(self) -> tuple[int, Json]:
        try:
            return 200, resource_manager.list_projects(self.cloud, self.forbidden_permissions)
        except ApiError as error:
            return error.status, error.as_json()
