"""Compute Engine over HTTP on a loopback port: for the demo machine, and for tests of clients of Compute Engine."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import TypeVar

from . import methods, os_login, services
from .api_errors import ApiError
from .http_server import LoopbackServer
from .state import Cloud, GuestFactory
from .values import Delays, Exchange, Json, Vm

_Emulator = TypeVar("_Emulator", bound="ComputeEmulator")


class ComputeEmulator:
    """Emulated projects behind ``endpoint``, until the ``with`` block ends.

        with ComputeEmulator(instances=[Vm("gpu-box", labels={"team": "vision"})]) as emulator:
            InstancesClient(credentials=AnonymousCredentials(), client_options={"api_endpoint": emulator.root})
            # gcloud: CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE=emulator.endpoint CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true

    ``endpoint`` ends with ``/compute/v1/`` and is what gcloud and ``machine.json`` use; ``root`` is the part before.
    OS Login and other APIs are there too: CLOUDSDK_API_ENDPOINT_OVERRIDES_OSLOGIN=emulator.os_login_endpoint.
    A project exists if a ``Vm`` or ``project_metadata`` names it. A ``Vm`` is TERMINATED unless it says otherwise, and
    guest attributes are on unless its ``metadata`` is given. ``guest_factory``: see ``Cloud``.

    ``exchanges`` keeps every request with its answer, in order. ``cloud.instances`` shows the live state.
    """

    def __init__(
        self,
        instances: Iterable[Vm] = (),
        *,
        project_metadata: Mapping[str, Mapping[str, str]] | None = None,
        delays: Delays | None = None,
        prefix: str | None = None,
        guest_factory: GuestFactory | None = None,
        on_shutdown: Callable[[], None] | None = None,
    ) -> None:
        self.cloud = self.make_cloud(instances, project_metadata or {}, delays or Delays(), guest_factory)
        self.exchanges: list[Exchange] = []
        self._prefix = f"/{secrets.token_urlsafe(24) if prefix is None else prefix}"
        self._on_shutdown = on_shutdown
        self._server = LoopbackServer(self._prefix, self._handle)

    def __enter__(self: _Emulator) -> _Emulator:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
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

    def make_cloud(
        self,
        instances: Iterable[Vm],
        project_metadata: Mapping[str, Mapping[str, str]],
        delays: Delays,
        guest_factory: GuestFactory | None,
    ) -> Cloud:
        return Cloud(instances, project_metadata, delays, guest_factory)

    def find_method(
        self, http_method: str, path: str, query: Mapping[str, str], body: Json | None
    ) -> tuple[str, Callable[[], Json]]:
        """The method's id and a function that returns its answer. Both raise ``ApiError``."""
        if found := services.find_method(self.cloud, http_method, path, query, body):
            return found
        if path.startswith("v1/users/"):
            return os_login.find_method(self.cloud.os_login, http_method, path, query, body)
        method, call = methods.find_method(http_method, path, query, body)
        return call.method_id, partial(methods.handle, self.cloud, method, call)

    def _handle(self, http_method: str, path: str, query: Mapping[str, str], body: Json | None) -> tuple[int, Json]:
        if (http_method, path) == ("POST", "shutdown") and self._on_shutdown is not None:
            self._on_shutdown()
            return 200, {}
        path = path.removeprefix("compute/v1/")
        method_id = ""
        try:
            method_id, respond = self.find_method(http_method, path, query, body)
            status, answer = 200, respond()
        except ApiError as error:
            status, answer = error.status, error.as_json()
        self.exchanges.append(Exchange(http_method, path, dict(query), body, status, answer, method_id))
        return status, answer
