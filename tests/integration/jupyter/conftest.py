"""One server for the modules that run code in kernels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from remote_runtime.core.model import Secret
from remote_runtime.jupyter.health import Endpoint
from tests.support.servers.jupyter import JupyterServer


@pytest.fixture(scope="package")
def recording_jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    outputs = tmp_path_factory.mktemp("record") / "outputs"
    with JupyterServer(extra_config={"RemoteRuntimeBridge": {"outputs_dir": str(outputs)}}) as server:
        yield server


@pytest.fixture(scope="package")
def endpoint(recording_jupyter: JupyterServer) -> Endpoint:
    return Endpoint(recording_jupyter.port, Secret(recording_jupyter.token), ())
